/**
 * What this host's KV daemon holds of saved prefixes, as the agent wrote or found it: the states, and for each block
 * the state that its pointer leads to. A block is held while its pointer is there and leads to a whole state; that is
 * what the followers, replicas of the same namespace, are told. Pure, and bounded: the oldest states are forgotten,
 * which claims less than there is. Knows no daemon.
 *
 *   pointer <ns>:<digest> --> state <ns>:<last digest>/head, /0, /1 ...        gone(any of these) --> told
 */
import { createHash } from 'node:crypto';
import { sharedLength } from '@cognitora/protocol/prefix/shared-length';
import type { HostBlocks } from '../truth/host-blocks.ts';

/** Of all namespaces: each takes some hundred bytes. */
const pointersMax = 65_536;
/** Keys that are written now: of one state and its pointers, twice. */
const expectedMax = 16_384;

/** 16 hex, as all digests here. */
export type BlockDigest = string;

export interface KeptState {
  readonly namespace: string;
  readonly last: BlockDigest;
  /** Of all its blocks, from the first on. */
  readonly digests: readonly BlockDigest[];
  readonly parts: number;
}

/** As the fleet names a key: the first 8 bytes of SHA-256. */
export const keyHash = (key: string): string =>
  createHash('sha256').update(key, 'latin1').digest('hex').slice(0, 16);

export const hexOf = (digest: bigint): BlockDigest => digest.toString(16).padStart(16, '0');
const digestOf = (hex: BlockDigest): bigint => BigInt(`0x${hex}`);

export const pointerKey = (namespace: string, digest: BlockDigest): string => `${namespace}:${digest}`;
export const headKey = (namespace: string, last: BlockDigest): string => `${namespace}:${last}/head`;
export const partKey = (namespace: string, last: BlockDigest, part: number): string =>
  `${namespace}:${last}/${part}`;

/** What a state lies in, what points at it aside; the head first, so that what is removed is not found. */
export const stateKeys = ({ namespace, last, parts }: Pick<KeptState, 'namespace' | 'last' | 'parts'>) => [
  headKey(namespace, last),
  ...Array.from({ length: parts }, (_, part) => partKey(namespace, last, part)),
];

type Known =
  | {
      readonly kind: 'pointer';
      readonly key: string;
      readonly namespace: string;
      readonly digest: BlockDigest;
    }
  | { readonly kind: 'state'; readonly key: string; readonly state: KeptState };

interface Heir {
  readonly last: BlockDigest;
  readonly blocks: number;
}

/** A pointer that is to lead to another state now. */
export interface MovedPointer {
  readonly key: string;
  readonly last: BlockDigest;
}

export interface Aftermath {
  /** Keys that nobody needs any more. */
  readonly useless: readonly string[];
  readonly moved: readonly MovedPointer[];
}

interface Space {
  readonly states: Map<BlockDigest, KeptState>;
  /** By digest, the last digest of the state. */
  readonly pointers: Map<BlockDigest, BlockDigest>;
  readonly followers: Set<HostBlocks>;
}

export class KeptPrefixes {
  readonly #spaces = new Map<string, Space>();
  /** By hash of the key. */
  readonly #known = new Map<string, Known>();
  /** Hashes of keys that will be kept. */
  readonly #expected = new Set<string>();
  #pointers = 0;

  /** A key that is going to be written, or fetched. */
  expect(key: string): void {
    this.#expected.add(keyHash(key));
    for (const oldest of this.#expected) {
      if (this.#expected.size <= expectedMax) return;
      this.#expected.delete(oldest);
    }
  }

  /** The replica's states are of this namespace, and of no other one. */
  follow(namespace: string, host: HostBlocks): void {
    this.unfollow(host);
    const space = this.#space(namespace);
    space.followers.add(host);
    host.add([...space.pointers.keys()].map(digestOf));
  }

  unfollow(host: HostBlocks): void {
    for (const { followers } of this.#spaces.values()) if (followers.delete(host)) host.clear();
  }

  /** The state is there, and the pointers of these blocks lead to it. */
  keep(state: KeptState, pointers: readonly BlockDigest[]): void {
    const { namespace, last } = state;
    const space = this.#space(namespace);
    space.states.delete(last);
    space.states.set(last, state);
    for (const key of stateKeys(state)) this.#known.set(keyHash(key), { kind: 'state', key, state });
    for (const digest of pointers) {
      if (!space.pointers.has(digest)) this.#pointers += 1;
      space.pointers.set(digest, last);
      const key = pointerKey(namespace, digest);
      this.#known.set(keyHash(key), { kind: 'pointer', key, namespace, digest });
    }
    for (const host of space.followers) host.add(pointers.map(digestOf));
    this.#forgetOldest(space, last);
  }

  /** Whether a key of this hash is one of those kept here, or will be. */
  knows(hash: string): boolean {
    return this.#known.has(hash) || this.#expected.has(hash);
  }

  /** The keys of these hashes, as far as they are known. */
  keysOf(hashes: readonly string[]): readonly string[] {
    return hashes.flatMap((hash) => this.#known.get(hash)?.key ?? []);
  }

  /** These keys are gone. Returns what is to be done about others. */
  gone(keys: readonly string[]): Aftermath {
    const useless = new Set<string>();
    // By key: an heir may be gone, too, and then the pointer moves once more.
    const moved = new Map<string, MovedPointer>();
    // Pointers first: one that is gone is not to be written again.
    const pointers = keys.filter((key) => this.#known.get(keyHash(key))?.kind === 'pointer');
    for (const key of [...pointers, ...keys]) {
      const known = this.#known.get(keyHash(key));
      if (known?.kind === 'pointer') this.#dropPointers(known.namespace, [known.digest]);
      else if (known !== undefined) {
        const dropped = this.#dropState(known.state, this.#heirOf(known.state));
        for (const each of dropped.useless) useless.add(each);
        for (const each of dropped.moved) moved.set(each.key, each);
      }
    }
    for (const key of useless) moved.delete(key);
    for (const key of keys) useless.delete(key);
    return { useless: [...useless], moved: [...moved.values()] };
  }

  /** Nobody knows any more what is there. */
  clear(): void {
    this.#known.clear();
    this.#pointers = 0;
    for (const { states, pointers, followers } of this.#spaces.values()) {
      states.clear();
      pointers.clear();
      for (const host of followers) host.clear();
    }
  }

  /** The other state that has most of its blocks, and how many. */
  #heirOf({ namespace, last, digests }: KeptState): Heir | undefined {
    let best: Heir | undefined;
    for (const state of this.#space(namespace).states.values()) {
      if (state.last === last) continue;
      const blocks = sharedLength(state.digests, digests);
      if (blocks > (best?.blocks ?? 0)) best = { last: state.last, blocks };
    }
    return best;
  }

  /** Its pointers lead to the heir, as far as that has their blocks; without one they lead nowhere. */
  #dropState(state: KeptState, heir: Heir | undefined): Aftermath {
    const { namespace, last, digests } = state;
    const space = this.#space(namespace);
    if (!space.states.delete(last)) return { useless: [], moved: [] };
    const keys = stateKeys(state);
    for (const key of keys) this.#known.delete(keyHash(key));
    const [inherited, lost]: [BlockDigest[], BlockDigest[]] = [[], []];
    for (const [at, digest] of digests.entries()) {
      if (space.pointers.get(digest) !== last) continue;
      if (heir === undefined || at >= heir.blocks) lost.push(digest);
      else {
        space.pointers.set(digest, heir.last);
        inherited.push(digest);
      }
    }
    this.#dropPointers(namespace, lost);
    const keyOf = (digest: BlockDigest): string => pointerKey(namespace, digest);
    return {
      useless: [...keys, ...lost.map(keyOf)],
      moved: inherited.map((digest) => ({ key: keyOf(digest), last: heir?.last ?? '' })),
    };
  }

  #dropPointers(namespace: string, digests: readonly BlockDigest[]): void {
    const space = this.#space(namespace);
    for (const digest of digests) {
      if (space.pointers.delete(digest)) this.#pointers -= 1;
      this.#known.delete(keyHash(pointerKey(namespace, digest)));
    }
    for (const host of space.followers) host.remove(digests.map(digestOf));
  }

  #forgetOldest(space: Space, newest: BlockDigest): void {
    for (const [last, state] of space.states) {
      if (this.#pointers <= pointersMax || last === newest) return;
      this.#dropState(state, undefined);
    }
  }

  #space(namespace: string): Space {
    const found = this.#spaces.get(namespace) ?? {
      ...{ states: new Map(), pointers: new Map(), followers: new Set<HostBlocks>() },
    };
    this.#spaces.set(namespace, found);
    return found;
  }
}
