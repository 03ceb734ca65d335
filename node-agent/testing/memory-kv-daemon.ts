/**
 * A KV daemon as the agent asks one, in memory, for tests: values by key, and those of other daemons by their node,
 * which stay here once they were fetched. A test breaks it by its fields.
 */
import { createHash } from 'node:crypto';
import type { NodeId } from '@cognitora/protocol/ids';
import type { NamespaceFields } from '@cognitora/protocol/kv-daemon';
import type { KeysPage, KvDaemon, ValueOptions } from '../src/kv-daemon/daemon-client.ts';

export class MemoryKvDaemon implements KvDaemon {
  readonly values = new Map<string, Buffer>();
  readonly peers = new Map<NodeId, MemoryKvDaemon>();
  readonly asked: string[] = [];
  isAway = false;
  /** Called before each value is written. */
  onPut: (key: string) => void = () => {};

  async value(key: string, { node, signal }: ValueOptions = {}): Promise<Buffer | undefined> {
    this.#ask(`get ${key}${node === undefined ? '' : ' there'}`);
    await Promise.resolve();
    signal?.throwIfAborted();
    const here = this.values.get(key);
    if (here !== undefined || node === undefined) return here;
    const there = this.peers.get(node)?.values.get(key);
    if (there !== undefined) this.values.set(key, there);
    return there;
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#ask(`put ${key}`);
    this.onPut(key);
    this.values.set(key, Buffer.from(value));
  }

  async remove(key: string): Promise<void> {
    this.#ask(`remove ${key}`);
    this.values.delete(key);
  }

  async exists(keys: readonly string[]): Promise<readonly boolean[]> {
    this.#ask(`exists ${keys.length}`);
    return keys.map((key) => this.values.has(key));
  }

  async keys(prefix: string, cursor = 0): Promise<KeysPage> {
    this.#ask(`keys ${prefix}`);
    const all = [...this.values.keys()].filter((key) => key.startsWith(prefix));
    const keys = all.slice(cursor, cursor + 3);
    return cursor + 3 < all.length ? { keys, cursor: cursor + 3 } : { keys };
  }

  async namespace(fields: NamespaceFields): Promise<string> {
    this.#ask('namespace');
    return `n${createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 16)}`;
  }

  #ask(what: string): void {
    if (this.isAway) throw new Error('connect ENOENT');
    this.asked.push(what);
  }
}
