/**
 * What the namespaces of this host stand for: their fields, in a file of the data directory, so that two hosts can be
 * compared. Equal fields have equal names. Owns no values; of many namespaces those that were named last are kept.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf } from '@cognitora/protocol/errors';
import { type KvNamespace, kvNamespacesMax, type NamespaceFields } from '@cognitora/protocol/kv-daemon';
import { canonicalFields, parseKvNamespaces } from '@cognitora/protocol/kv-daemon-bodies';

/** What a Redis database is called that nobody gave fields. */
export const unnamedNamespace = (database: number): string => `db${database}`;

/** Whether other hosts may have a key: of one without fields nobody knows what it was computed with. */
export const isSharedKey = (key: string): boolean => !/^db\d{1,2}:/.test(key);

export const namespaceOf = (fields: NamespaceFields): string =>
  `n${createHash('sha256').update(canonicalFields(fields)).digest('hex').slice(0, 16)}`;

export class Namespaces {
  /** Undefined: nothing is kept over a restart. */
  readonly #path: string | undefined;
  readonly #onError: (message: string) => void;
  readonly #known = new Map<string, NamespaceFields>();

  constructor(path: string | undefined, onError: (message: string) => void) {
    this.#path = path;
    this.#onError = onError;
    for (const { namespace, fields } of this.#read()) this.#known.set(namespace, fields);
  }

  /** The last named last. */
  get all(): readonly KvNamespace[] {
    return [...this.#known].map(([namespace, fields]) => ({ namespace, fields }));
  }

  /** Its name, the same for the same fields always. */
  name(fields: NamespaceFields): string {
    const namespace = namespaceOf(fields);
    const isNew = !this.#known.delete(namespace);
    this.#known.set(namespace, fields);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= kvNamespacesMax) break;
      this.#known.delete(oldest);
    }
    if (isNew) this.#write();
    return namespace;
  }

  #read(): readonly KvNamespace[] {
    if (this.#path === undefined) return [];
    try {
      return parseKvNamespaces(readFileSync(this.#path));
    } catch (thrown) {
      const isAbsent = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
      // Fields are told anew by whoever uses them; values do not depend on the file.
      if (!isAbsent) this.#failed('read', thrown);
      return [];
    }
  }

  #write(): void {
    if (this.#path === undefined) return;
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      writeFileSync(`${this.#path}.new`, `${JSON.stringify({ namespaces: this.all }, undefined, 1)}\n`);
      renameSync(`${this.#path}.new`, this.#path);
    } catch (thrown) {
      this.#failed('written', thrown);
    }
  }

  #failed(what: string, thrown: unknown): void {
    this.#onError(`${this.#path} cannot be ${what}: ${messageOf(thrown)}`);
  }
}
