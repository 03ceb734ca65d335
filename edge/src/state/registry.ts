/**
 * The durable record of who may do what: API keys, join tokens, enrolled nodes. One object per deployment, in SQLite,
 * off every hot path. Stores hashes of secrets, never secrets; every table is bounded.
 */
import { DurableObject } from 'cloudflare:workers';
import { toBase32 } from '@cognitora/protocol/bytes';
import { CognitoraError, type ErrorCode } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';
import { joinTokensMax, keysMax, nodesEnrolledMax } from '@cognitora/protocol/limits';
import { type Scope, scopes } from '@cognitora/protocol/openai';
import { systemClock } from '../clock.ts';
import type { Env } from '../env.ts';
import type { Principal } from '../identity/principal.ts';
import { type Outcome, refusal } from '../outcome.ts';
import { randomBytes } from '../random.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS api_keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, tenant TEXT NOT NULL,
    scopes TEXT NOT NULL, created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER, revoked_at_ms INTEGER
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS join_tokens (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, uses_left INTEGER NOT NULL, revoked_at_ms INTEGER
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS nodes (
    node TEXT PRIMARY KEY, name TEXT NOT NULL, enrolled_at_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS nodes_by_time ON nodes (enrolled_at_ms DESC, node);
  CREATE TABLE IF NOT EXISTS removed_nodes (
    node TEXT PRIMARY KEY, removed_at_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
`;

export interface KeyView {
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
}

export interface NewKey {
  readonly hash: string;
  readonly name: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly expiresAtMs: number | undefined;
}

export interface JoinTokenView {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usesLeft: number;
  readonly revokedAtMs: number | null;
}

export interface EnrolledNode {
  readonly node: NodeId;
  /** The host's, when it enrolled last. */
  readonly name: string;
  readonly enrolledAtMs: number;
}

const scopesOf = (text: string): readonly Scope[] =>
  scopes.filter((scope) => text.split(',').includes(scope));

const newId = (prefix: string): string => `${prefix}_${toBase32(randomBytes(10), 16)}`;

type Row = Record<string, SqlStorageValue>;

const nullableNumber = (value: SqlStorageValue | undefined): number | null =>
  typeof value === 'number' ? value : null;

export class Registry extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#sql.exec(schema);
  }

  /** The key's principal; undefined when it is unknown, expired or revoked. */
  findKey(hash: string): Principal | undefined {
    const row = this.#first('SELECT * FROM api_keys WHERE hash = ?', hash);
    if (row === undefined || row.revoked_at_ms !== null) return undefined;
    const expiresAtMs = nullableNumber(row.expires_at_ms) ?? undefined;
    if (expiresAtMs !== undefined && expiresAtMs <= systemClock()) return undefined;
    return {
      keyId: String(row.id),
      tenant: String(row.tenant),
      scopes: scopesOf(String(row.scopes)),
      expiresAtMs,
    };
  }

  createKey(key: NewKey): Outcome<KeyView> {
    const full = this.#makeRoom('api_keys', keysMax, 'key');
    if (full !== undefined) return full;
    const id = newId('key');
    const now = systemClock();
    this.#sql.exec(
      'INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)',
      id,
      key.hash,
      key.name,
      key.tenant,
      key.scopes.join(','),
      now,
      key.expiresAtMs ?? null,
    );
    const { name, tenant } = key;
    const expiresAtMs = key.expiresAtMs ?? null;
    return {
      value: { id, name, tenant, scopes: key.scopes, createdAtMs: now, expiresAtMs, revokedAtMs: null },
    };
  }

  listKeys(): readonly KeyView[] {
    return this.#all('SELECT * FROM api_keys ORDER BY created_at_ms').map((row) => ({
      id: String(row.id),
      name: String(row.name),
      tenant: String(row.tenant),
      scopes: scopesOf(String(row.scopes)),
      createdAtMs: Number(row.created_at_ms),
      expiresAtMs: nullableNumber(row.expires_at_ms),
      revokedAtMs: nullableNumber(row.revoked_at_ms),
    }));
  }

  revokeKey(id: string): boolean {
    return this.#revoke('UPDATE api_keys SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL', id);
  }

  createJoinToken(hash: string, expiresAtMs: number, uses: number): Outcome<JoinTokenView> {
    const full = this.#makeRoom('join_tokens', joinTokensMax, 'join token');
    if (full !== undefined) return full;
    const id = newId('join');
    const now = systemClock();
    this.#sql.exec('INSERT INTO join_tokens VALUES (?, ?, ?, ?, ?, NULL)', id, hash, now, expiresAtMs, uses);
    return { value: { id, createdAtMs: now, expiresAtMs, usesLeft: uses, revokedAtMs: null } };
  }

  listJoinTokens(): readonly JoinTokenView[] {
    return this.#all('SELECT * FROM join_tokens ORDER BY created_at_ms').map((row) => ({
      id: String(row.id),
      createdAtMs: Number(row.created_at_ms),
      expiresAtMs: Number(row.expires_at_ms),
      usesLeft: Number(row.uses_left),
      revokedAtMs: nullableNumber(row.revoked_at_ms),
    }));
  }

  revokeJoinToken(id: string): boolean {
    return this.#revoke(
      'UPDATE join_tokens SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL',
      id,
    );
  }

  /**
   * Spends one use of a join token and records the node. A node that enrols again keeps its id. One that was removed
   * needs a token made after that: the one that its host may still hold is no way back.
   */
  enrol(tokenHash: string, node: NodeId, name: string): Outcome<NodeId> {
    const now = systemClock();
    const token = this.#first('SELECT * FROM join_tokens WHERE hash = ?', tokenHash);
    if (token === undefined || token.revoked_at_ms !== null) {
      return refuse('identity_refused', 'The join token is unknown or revoked. "cgn keys join" makes one.');
    }
    if (Number(token.expires_at_ms) <= now || Number(token.uses_left) < 1) {
      return refuse('identity_refused', 'The join token is expired or used up. "cgn keys join" makes one.');
    }
    const removed = this.#first('SELECT removed_at_ms FROM removed_nodes WHERE node = ?', node);
    if (removed !== undefined && Number(token.created_at_ms) <= Number(removed.removed_at_ms)) {
      const message = 'The operator removed this node after that join token was made. It takes a new one.';
      return refuse('identity_refused', message);
    }
    const isKnown = this.#first('SELECT node FROM nodes WHERE node = ?', node) !== undefined;
    if (!isKnown && this.#count('nodes') >= nodesEnrolledMax) {
      return refuse('over_budget', `This deployment holds ${nodesEnrolledMax} nodes already.`);
    }
    this.#sql.exec('UPDATE join_tokens SET uses_left = uses_left - 1 WHERE id = ?', token.id ?? null);
    this.#sql.exec(
      `INSERT INTO nodes VALUES (?1, ?2, ?3) ON CONFLICT (node) DO UPDATE SET name = ?2`,
      node,
      name,
      now,
    );
    this.#sql.exec('DELETE FROM removed_nodes WHERE node = ?', node);
    return { value: node };
  }

  isEnrolled(node: NodeId): boolean {
    return this.#first('SELECT node FROM nodes WHERE node = ?', node) !== undefined;
  }

  /** Enrolled nodes, the latest first. */
  listNodes(rowsMax: number): readonly EnrolledNode[] {
    return this.#all('SELECT * FROM nodes ORDER BY enrolled_at_ms DESC, node LIMIT ?', rowsMax).map(toNode);
  }

  /** Enrolled nodes of that name, or whose id begins so; at most `rowsMax`. */
  findNodes(reference: string, rowsMax: number): readonly EnrolledNode[] {
    // Ids are ASCII: what begins so lies before that with a tilde behind it.
    return this.#all(
      "SELECT * FROM nodes WHERE node BETWEEN ?1 AND ?1 || '~' OR name = ?1 ORDER BY node LIMIT ?2",
      reference,
      rowsMax,
    ).map(toNode);
  }

  /** Takes a node's enrolment back. */
  removeNode(node: NodeId): Outcome<NodeId> {
    const now = systemClock();
    // A removal has to be remembered only while a join token lives that is older.
    this.#sql.exec(
      `DELETE FROM removed_nodes WHERE NOT EXISTS (
         SELECT 1 FROM join_tokens WHERE revoked_at_ms IS NULL AND expires_at_ms > ? AND uses_left > 0
         AND created_at_ms <= removed_at_ms)`,
      now,
    );
    if (this.#count('removed_nodes') >= nodesEnrolledMax) {
      return refuse(
        'over_budget',
        'Too many nodes were removed while old join tokens live: revoke those first.',
      );
    }
    this.#sql.exec('DELETE FROM nodes WHERE node = ?', node);
    this.#sql.exec(
      'INSERT INTO removed_nodes VALUES (?1, ?2) ON CONFLICT (node) DO UPDATE SET removed_at_ms = ?2',
      node,
      now,
    );
    return { value: node };
  }

  #revoke(statement: string, id: string): boolean {
    return this.#sql.exec(statement, systemClock(), id).rowsWritten > 0;
  }

  /** Dead rows make room before a full table refuses. */
  #makeRoom(table: 'api_keys' | 'join_tokens', rowsMax: number, what: string): Outcome<never> | undefined {
    if (this.#count(table) < rowsMax) return undefined;
    this.#sql.exec(
      `DELETE FROM ${table} WHERE revoked_at_ms IS NOT NULL OR expires_at_ms <= ?`,
      systemClock(),
    );
    if (this.#count(table) < rowsMax) return undefined;
    return refuse('over_budget', `This deployment holds ${rowsMax} of them already: revoke a ${what} first.`);
  }

  #count(table: 'api_keys' | 'join_tokens' | 'nodes' | 'removed_nodes'): number {
    return Number(this.#first(`SELECT count(*) AS rows FROM ${table}`)?.rows);
  }

  #first(statement: string, ...bindings: SqlStorageValue[]): Row | undefined {
    return this.#all(statement, ...bindings)[0];
  }

  #all(statement: string, ...bindings: SqlStorageValue[]): Row[] {
    return this.#sql.exec(statement, ...bindings).toArray();
  }
}

const toNode = (row: Row): EnrolledNode => ({
  node: String(row.node) as NodeId,
  name: String(row.name),
  enrolledAtMs: Number(row.enrolled_at_ms),
});

const refuse = (code: ErrorCode, message: string): Outcome<never> =>
  refusal(new CognitoraError(code, message));
