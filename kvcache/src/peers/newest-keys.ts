/**
 * The files that this host's engines wrote last, by mirrored namespace, so that other hosts can take them before they
 * are asked for. Bounded, in memory alone, and never a walk over the store. What came from a peer is none of them:
 * whoever feeds it tells what was written here. Also what a peer's list may look like.
 */
import { messageOf } from '@cognitora/protocol/errors';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import { keyBytesMax, valueBytesMax } from '../store.ts';
import { PeerError } from './codes.ts';
import { jsonBytesMax, newestAskedMax, newestKeysMax } from './limits.ts';

export interface NewestAsk {
  readonly namespace: string;
  /** What the holder said last; 0: all. */
  readonly after: number;
  readonly limit: number;
}

export interface NewestKey {
  readonly key: string;
  readonly bytes: number;
  /** Since it was written: clocks of two hosts differ. */
  readonly ageMs: number;
}

export interface NewestAnswer {
  /** What to ask behind the next time. It means something to its holder alone. */
  readonly at: number;
  /** The newest first. What the limit left out is not told any more. */
  readonly keys: readonly NewestKey[];
}

interface Entry {
  readonly bytes: number;
  readonly at: number;
}

interface List {
  /** The oldest first. */
  readonly entries: Map<string, Entry>;
  /** Of the newest. */
  at: number;
}

/** Of an answer, beside its keys. */
const restBytes = 256;

export class NewestKeys {
  readonly #lists: ReadonlyMap<string, List>;
  readonly #has: (key: string) => boolean;
  readonly #wallMs: () => number;

  constructor(
    namespaces: readonly string[],
    { has, wallMs }: { readonly has: (key: string) => boolean; readonly wallMs: () => number },
  ) {
    this.#lists = new Map(namespaces.map((namespace) => [namespace, { entries: new Map(), at: 0 }]));
    this.#has = has;
    this.#wallMs = wallMs;
  }

  /** An engine of this host wrote it. Of no namespace that is mirrored: nothing. */
  add(namespace: string, key: string, bytes: number): void {
    const list = this.#lists.get(namespace);
    if (list === undefined || bytes > valueBytesMax) return;
    // By the clock, so that they go on behind a restart.
    list.at = Math.max(list.at + 1, Math.floor(this.#wallMs()));
    list.entries.delete(key);
    list.entries.set(key, { bytes, at: list.at });
    for (const oldest of list.entries.keys()) {
      if (list.entries.size <= newestKeysMax) return;
      list.entries.delete(oldest);
    }
  }

  /** Undefined: no such namespace is mirrored here. */
  since({ namespace, after, limit }: NewestAsk): NewestAnswer | undefined {
    const list = this.#lists.get(namespace);
    if (list === undefined) return undefined;
    const keys: NewestKey[] = [];
    if (list.at === after) return { at: after, keys };
    // Later than all: this daemon began anew since then, with a clock that was set back.
    const from = after > list.at ? 0 : after;
    let leftBytes = jsonBytesMax - restBytes;
    const count = Math.min(limit, newestAskedMax);
    for (const [key, { bytes, at }] of [...list.entries].reverse()) {
      if (at <= from || keys.length >= count) break;
      if (!this.#has(key)) continue;
      const told = { key, bytes, ageMs: Math.max(0, Math.floor(this.#wallMs()) - at) };
      leftBytes -= Buffer.byteLength(JSON.stringify(told)) + 1;
      if (leftBytes < 0) break;
      keys.push(told);
    }
    return { at: list.at, keys };
  }
}

/** Throws `PeerError`: a list that a holder may not tell is none at all. */
export const parseNewest = (bytes: Uint8Array, { namespace, limit }: NewestAsk): NewestAnswer => {
  const what = "A peer's newest keys";
  try {
    const fields = new FieldReader(parseJsonRecord(bytes, 'protocol_error', what), 'protocol_error', what);
    const keys = fields.records('keys', limit, (entry) => {
      const key = entry.string('key', keyBytesMax);
      if (!key.startsWith(`${namespace}:`)) entry.fail('key', `one of ${namespace}`);
      const count = (name: string, min: number): number => entry.integer(name, min, Number.MAX_SAFE_INTEGER);
      return { key, bytes: count('bytes', 1), ageMs: count('ageMs', 0) };
    });
    return { at: fields.integer('at', 0, Number.MAX_SAFE_INTEGER), keys };
  } catch (thrown) {
    throw new PeerError('garbage', messageOf(thrown));
  }
};
