/**
 * What a region keeps durably of each node, in its own database: the epoch and the time of its last dial, whether the
 * operator cordoned it, and for a while that it was removed. Applies cordons to the directory when the object starts.
 * Written before it is used; never on the path of a request.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import { dialSkewMsMax, linksPerObjectMax } from '@cognitora/protocol/limits';
import type { Directory } from './directory.ts';

/** Dials that were signed before a removal can't come any more after this long: what is left of the node goes too. */
const removalKeptMs = 2 * dialSkewMsMax;

export class NodeStore {
  readonly #sql: SqlStorage;
  readonly #directory: Directory;

  constructor(sql: SqlStorage, directory: Directory, nowMs: number) {
    this.#sql = sql;
    this.#directory = directory;
    for (const columns of [
      'nodes (node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, dialed_at_ms INTEGER NOT NULL)',
      'cordons (node TEXT PRIMARY KEY, since_ms INTEGER NOT NULL)',
      'removals (node TEXT PRIMARY KEY, removed_at_ms INTEGER NOT NULL)',
    ]) {
      sql.exec(`CREATE TABLE IF NOT EXISTS ${columns} WITHOUT ROWID`);
    }
    const latest = sql.exec('SELECT node FROM nodes ORDER BY dialed_at_ms DESC LIMIT ?', linksPerObjectMax);
    directory.awaitNodes(
      [...latest].map(({ node }) => node as NodeId),
      nowMs,
    );
    for (const { node } of sql.exec('SELECT node FROM cordons')) directory.cordon(node as NodeId, true);
  }

  /**
   * Numbers a node's dial. Throws for one that is not newer than the last, which may be a recording, and for one whose
   * enrolment was looked up before the node was removed. A time that lies ahead of the clock is from before that was
   * set back, and proves nothing.
   */
  nextEpoch(node: NodeId, dialedAtMs: number, checkedAtMs: number, nowMs: number): Epoch {
    const [known] = this.#sql.exec('SELECT epoch, dialed_at_ms FROM nodes WHERE node = ?', node).toArray();
    const lastMs = Number(known?.dialed_at_ms ?? 0);
    if (lastMs >= dialedAtMs && lastMs <= nowMs + dialSkewMsMax) {
      const message = 'This dial is not newer than the last. Check the host’s clock.';
      throw new CognitoraError('identity_refused', message);
    }
    const removedAtMs = this.#removedAtMs(node);
    if (removedAtMs !== undefined && removedAtMs >= checkedAtMs && removedAtMs <= nowMs) throw removed();
    this.#sql.exec('DELETE FROM removals WHERE node = ?', node);
    const epoch = (known === undefined ? 1 : Number(known.epoch) + 1) as Epoch;
    this.#sql.exec(
      `INSERT INTO nodes (node, epoch, dialed_at_ms) VALUES (?1, ?2, ?3)
       ON CONFLICT (node) DO UPDATE SET epoch = ?2, dialed_at_ms = ?3`,
      node,
      epoch,
      dialedAtMs,
    );
    return epoch;
  }

  /** Throws `not_enrolled` when the node was removed since its link was numbered. */
  assertKept(node: NodeId): void {
    if (this.#removedAtMs(node) !== undefined) throw removed();
  }

  /** Since when each of these nodes is cordoned; the others are left out. */
  cordonsOf(nodes: readonly NodeId[]): ReadonlyMap<NodeId, number> {
    const since = new Map<NodeId, number>();
    for (const node of nodes) {
      const [row] = this.#sql.exec('SELECT since_ms FROM cordons WHERE node = ?', node).toArray();
      if (row !== undefined) since.set(node, Number(row.since_ms));
    }
    return since;
  }

  cordon(node: NodeId, nowMs: number): void {
    this.#sql.exec('INSERT INTO cordons VALUES (?, ?) ON CONFLICT (node) DO NOTHING', node, nowMs);
    this.#directory.cordon(node, true);
  }

  uncordon(node: NodeId): void {
    this.#sql.exec('DELETE FROM cordons WHERE node = ?', node);
    this.#directory.cordon(node, false);
  }

  /** From now on no link of the node that was numbered before counts; its epochs go on should it enrol again. */
  remove(node: NodeId, nowMs: number): void {
    const isOld = 'SELECT node FROM removals WHERE removed_at_ms < ?';
    this.#sql.exec(`DELETE FROM nodes WHERE node IN (${isOld})`, nowMs - removalKeptMs);
    this.#sql.exec('DELETE FROM removals WHERE removed_at_ms < ?', nowMs - removalKeptMs);
    this.#sql.exec(
      'INSERT INTO removals VALUES (?1, ?2) ON CONFLICT (node) DO UPDATE SET removed_at_ms = ?2',
      node,
      nowMs,
    );
    this.uncordon(node);
  }

  #removedAtMs(node: NodeId): number | undefined {
    const [row] = this.#sql.exec('SELECT removed_at_ms FROM removals WHERE node = ?', node).toArray();
    return row === undefined ? undefined : Number(row.removed_at_ms);
  }
}

const removed = (): CognitoraError =>
  new CognitoraError('not_enrolled', 'The operator removed this node. Give it a new join token.');
