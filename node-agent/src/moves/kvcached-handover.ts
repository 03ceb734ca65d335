/**
 * A hand-over in this host's KV daemon, which fetches from the daemons of other hosts. An envelope lies in parts, its
 * head beside them, and a pointer for each block that it covers; it is written in that order, so that nothing points at
 * what is not there. Keeps no bytes; knows by `KeptPrefixes` what it wrote or found, and takes away what is left of a
 * state of which the daemon dropped a piece.
 *
 *   <ns>:<last digest>/0, /1 ...   of 16 MiB      <ns>:<last digest>/head      <ns>:<digest> = last digest, 16 hex
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { NamespaceFields, PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import { sharedLength } from '@cognitora/protocol/prefix/shared-length';
import { sideBySide } from '@cognitora/protocol/side-by-side';
import { type KvDaemon, valueBytesMax } from '../kv-daemon/daemon-client.ts';
import type { Log } from '../log.ts';
import { type EnvelopeHead, encodeHead, envelopeBytesOf, parseHead } from './envelope.ts';
import type { EngineFacts } from './fingerprint.ts';
import type { KvHandover, MovingReplica, SavedPrefix } from './handover.ts';
import {
  type Aftermath,
  type BlockDigest,
  headKey,
  hexOf,
  KeptPrefixes,
  type KeptState,
  partKey,
  pointerKey,
  stateKeys,
} from './kept-prefixes.ts';

/** Parts that are fetched before the one that is read now is done. */
const aheadMax = 2;
/** Small values that are written or read side by side. */
const sideBySideMax = 4;
/** Pointers that lead nowhere before a chain is given up. */
const deadEndsMax = 4;
/** States that are looked at when the daemon is found: more are found by who asks for them. */
const foundStatesMax = 1_024;
/** Names of a namespace that are looked through: some gigabytes of states, with their pointers. */
const namesMax = 131_072;
const uselessMax = 256;
/** A daemon that is started again takes seconds. */
const meetAgainMs = 10_000;

const idPattern = /^(n[0-9a-f]{16}):([0-9a-f]{16})\/(\d{1,4})(?:@(n[a-z2-7]{26}))?$/;
const lastPattern = /^[0-9a-f]{16}$/;

export interface KvcachedHandoverOptions {
  readonly daemon: KvDaemon;
  /** How a node is reached; undefined: not at all. */
  readonly reachOf: (node: NodeId) => PeerReach | undefined;
  /** A replica got its namespace. */
  readonly onNamed: () => void;
  readonly pause: (ms: number) => Promise<void>;
  readonly log: Log;
  readonly partBytes?: number;
}

interface Place {
  readonly namespace: string;
  readonly last: BlockDigest;
  readonly parts: number;
  readonly node: NodeId | undefined;
}

interface Found {
  readonly place: Place;
  readonly head: EnvelopeHead;
  readonly blocks: number;
}

/** All that the fingerprint is of, so that a person can be told which fact differs. */
export const namespaceFieldsOf = ({ model, build, ...more }: EngineFacts): NamespaceFields => ({
  model,
  engine: build,
  more: { ...more },
});

export class KvcachedHandover implements KvHandover {
  readonly #options: KvcachedHandoverOptions;
  readonly #partBytes: number;
  readonly #kept = new KeptPrefixes();
  readonly #replicas = new Map<MovingReplica['held'], MovingReplica>();
  /** By fingerprint, in hex. */
  readonly #namespaces = new Map<string, string>();
  readonly #meeting = new Set<MovingReplica>();
  #isTold = false;
  /** Envelopes of peers that turned out to be damaged. */
  readonly #useless = new Set<string>();

  constructor(options: KvcachedHandoverOptions) {
    this.#options = options;
    this.#partBytes = options.partBytes ?? valueBytesMax;
  }

  serve(replica: MovingReplica): void {
    this.#replicas.set(replica.held, replica);
    this.#kept.unfollow(replica.held);
    void this.#meetAgain(replica);
  }

  isReady(fingerprint: Uint8Array): boolean {
    return this.namespaceOf(fingerprint) !== undefined;
  }

  /** Undefined: the daemon was not told of it yet. */
  namespaceOf(fingerprint: Uint8Array): string | undefined {
    return this.#namespaces.get(hexOfBytes(fingerprint));
  }

  /** From now on the daemon tells what it drops: what it holds is known. Perhaps it is another one than before. */
  async found(): Promise<void> {
    this.#isTold = true;
    this.#kept.clear();
    for (const replica of this.#replicas.values()) {
      const why = await this.#meet(replica);
      if (why !== undefined) this.#options.log('warn', 'kv waits for kvcached', { why });
    }
  }

  /** Nobody knows what the daemon holds. */
  lost(): void {
    this.#isTold = false;
    this.#kept.clear();
    for (const held of this.#replicas.keys()) this.#kept.unfollow(held);
  }

  /** Whether a key of this hash is part of what this host moves, which nobody finds by its hash. */
  knows(hash: string): boolean {
    return this.#kept.knows(hash);
  }

  /** The daemon dropped keys of these hashes, or wrote them anew. */
  async dropped(hashes: readonly string[]): Promise<void> {
    const keys = this.#kept.keysOf(hashes);
    if (keys.length === 0) return;
    try {
      const there = await this.#options.daemon.exists(keys);
      await this.#tidy(this.#kept.gone(keys.filter((_, at) => there[at] === false)));
    } catch (thrown) {
      this.#options.log('warn', 'saved kv that is gone is not told', { why: String(thrown) });
    }
  }

  rttMsTo(node: NodeId): number | undefined {
    return this.#options.reachOf(node)?.rttMs;
  }

  async has(
    fingerprint: Uint8Array,
    chain: BigUint64Array,
    from?: KvSource,
  ): Promise<SavedPrefix | undefined> {
    const namespace = this.namespaceOf(fingerprint);
    if (namespace === undefined) return undefined;
    const here = await this.#foundHere(namespace, chain).catch((thrown) => this.#gone(thrown));
    const peer = from === undefined ? undefined : this.#options.reachOf(from.node);
    if (from === undefined || peer === undefined || (here?.blocks ?? 0) >= from.blocks) {
      return here && prefixOf(here);
    }
    const there = await this.#foundThere(namespace, chain, from).catch(() => undefined);
    const offered = there && { ...prefixOf(there), peer };
    const isBetter = (offered?.blocks ?? 0) > (here?.blocks ?? 0) && !this.#useless.has(offered?.id ?? '');
    return isBetter ? offered : here && prefixOf(here);
  }

  async *get(id: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const place = placeOf(id);
    const { namespace, last, parts, node } = place;
    const ended = new AbortController();
    const either = signal === undefined ? ended.signal : AbortSignal.any([ended.signal, signal]);
    const fetched: Promise<Buffer | undefined>[] = [];
    const fetch = (): void => {
      const key = partKey(namespace, last, fetched.length);
      const part = this.#value(key, node, either);
      // Whoever comes to it hears of its failure; nobody may.
      part.catch(() => {});
      fetched.push(part);
    };
    try {
      for (let part = 0; part < parts; part += 1) {
        while (fetched.length < Math.min(parts, part + 1 + aheadMax)) fetch();
        const bytes = await fetched[part];
        if (bytes === undefined) throw new Error(`part ${part} of ${parts} is not there`);
        fetched[part] = Promise.resolve(undefined);
        yield bytes;
      }
    } finally {
      ended.abort();
    }
    if (node !== undefined) void this.#adopt(place).catch(() => {});
  }

  async put(head: EnvelopeHead, envelope: AsyncIterable<Uint8Array>): Promise<void> {
    const namespace = this.namespaceOf(head.fingerprint);
    if (namespace === undefined) throw new Error('kvcached is not there');
    const digests = [...head.digests].map(hexOf);
    const last = digests.at(-1) ?? '';
    const state = { namespace, last, digests, parts: partsOf(head, this.#partBytes) };
    try {
      let part = 0;
      for await (const bytes of inPieces(envelope, this.#partBytes)) {
        await this.#put(partKey(namespace, last, part), bytes);
        part += 1;
      }
      if (part !== state.parts) throw new Error('the envelope is not as long as its head says');
      await this.#put(headKey(namespace, last), encodeHead(head));
    } catch (thrown) {
      await this.#remove(stateKeys(state));
      throw thrown;
    }
    await this.#point(state);
    await this.#dropBeginnings(state);
  }

  async drop(id: string): Promise<void> {
    const place = placeOf(id);
    // A peer's stays where it is, and is named again.
    if (place.node !== undefined) this.#useless.add(id);
    for (const oldest of this.#useless) {
      if (this.#useless.size <= uselessMax) break;
      this.#useless.delete(oldest);
    }
    const keys = stateKeys(place);
    await this.#remove(keys);
    await this.#tidy(this.#kept.gone(keys));
  }

  /** The daemon does not answer: until it does it is not asked, and no request waits for it. */
  #gone(thrown: unknown): never {
    this.#namespaces.clear();
    for (const replica of this.#replicas.values()) void this.#meetAgain(replica);
    throw thrown;
  }

  /** Until the daemon has told the name of the replica's namespace. */
  async #meetAgain(replica: MovingReplica): Promise<void> {
    if (this.#meeting.has(replica)) return;
    this.#meeting.add(replica);
    const { log, pause } = this.#options;
    const isWanted = (): boolean => this.#replicas.get(replica.held) === replica;
    let told: string | undefined;
    while (isWanted()) {
      const why = await this.#meet(replica);
      // Of a wait that goes on there is nothing new to say.
      if (why !== undefined && why !== told) log('warn', 'kv waits for kvcached', { why });
      if (why === undefined && told !== undefined) log('info', 'kvcached answers');
      told = why;
      if (why === undefined) break;
      await pause(meetAgainMs);
    }
    this.#meeting.delete(replica);
  }

  /** Learns the name of the replica's namespace, and what the daemon holds of it. A text: why it does not answer. */
  async #meet({ fingerprint, facts, held }: MovingReplica): Promise<string | undefined> {
    const { daemon, onNamed } = this.#options;
    try {
      const namespace = await daemon.namespace(namespaceFieldsOf(facts));
      if (this.#replicas.get(held)?.fingerprint !== fingerprint) return undefined;
      this.#namespaces.set(hexOfBytes(fingerprint), namespace);
      onNamed();
      if (!this.#isTold) return undefined;
      this.#kept.follow(namespace, held);
      await this.#look(namespace);
      return undefined;
    } catch (thrown) {
      return String(thrown);
    }
  }

  async #look(namespace: string): Promise<void> {
    const names = await this.#namesIn(namespace);
    const heads = [...names].filter((name) => name.endsWith('/head')).slice(0, foundStatesMax);
    const ends = new Map<BlockDigest, BlockDigest>();
    const pointers = [...names].filter((name) => lastPattern.test(name));
    await sideBySide(pointers, sideBySideMax, async (digest) => {
      const end = await this.#pointer(namespace, digest);
      if (end !== undefined) ends.set(digest, end);
    });
    for (const name of heads) await this.#keepFound(namespace, name.slice(0, -'/head'.length), names, ends);
  }

  async #keepFound(
    namespace: string,
    last: BlockDigest,
    names: ReadonlySet<string>,
    ends: ReadonlyMap<BlockDigest, BlockDigest>,
  ): Promise<void> {
    const head = await this.#head(namespace, last);
    if (head === undefined) return;
    const digests = [...head.digests].map(hexOf);
    const state = { namespace, last, digests, parts: partsOf(head, this.#partBytes) };
    const isWhole = stateKeys(state).every((key) => names.has(key.slice(namespace.length + 1)));
    if (isWhole)
      this.#kept.keep(
        state,
        digests.filter((digest) => ends.get(digest) === last),
      );
  }

  /** What keys of a namespace are called in it. */
  async #namesIn(namespace: string): Promise<ReadonlySet<string>> {
    const names = new Set<string>();
    const prefix = `${namespace}:`;
    let page = await this.#options.daemon.keys(prefix);
    for (;;) {
      for (const key of page.keys) names.add(key.slice(prefix.length));
      if (page.cursor === undefined || names.size > namesMax) return names;
      page = await this.#options.daemon.keys(prefix, page.cursor);
    }
  }

  async #foundHere(namespace: string, chain: BigUint64Array): Promise<Found | undefined> {
    const digests = [...chain].map(hexOf);
    const there = await this.#options.daemon.exists(digests.map((digest) => pointerKey(namespace, digest)));
    const deadEnds = new Set<BlockDigest>();
    for (let block = there.lastIndexOf(true); block >= 0; block = there.lastIndexOf(true, block - 1)) {
      const last = await this.#pointer(namespace, digests[block] ?? '');
      if (last !== undefined && !deadEnds.has(last)) {
        const found = await this.#stateAt(namespace, last, chain, undefined);
        if (found !== undefined) return found;
        deadEnds.add(last);
      }
      if (block === 0 || deadEnds.size >= deadEndsMax) return undefined;
    }
    return undefined;
  }

  async #foundThere(
    namespace: string,
    chain: BigUint64Array,
    { node, blocks }: KvSource,
  ): Promise<Found | undefined> {
    const digest = chain[Math.min(blocks, chain.length) - 1];
    if (digest === undefined) return undefined;
    const last = await this.#pointer(namespace, hexOf(digest), node);
    return last === undefined ? undefined : this.#stateAt(namespace, last, chain, node);
  }

  /** A state that is whole and begins as the chain does. */
  async #stateAt(
    namespace: string,
    last: BlockDigest,
    chain: BigUint64Array,
    node: NodeId | undefined,
  ): Promise<Found | undefined> {
    const head = await this.#head(namespace, last, node);
    const blocks = head === undefined ? 0 : sharedLength(head.digests, chain);
    if (head === undefined || blocks === 0) return undefined;
    const place = { namespace, last, parts: partsOf(head, this.#partBytes), node };
    // Of a peer's it is seen when they are fetched.
    const isWhole =
      node !== undefined || (await this.#options.daemon.exists(stateKeys(place))).every(Boolean);
    return isWhole ? { place, head, blocks } : undefined;
  }

  /** Written as one that others find by prompts. */
  async #put(key: string, value: Uint8Array): Promise<void> {
    this.#kept.expect(key);
    await this.#options.daemon.put(key, value);
  }

  async #value(key: string, node?: NodeId, signal?: AbortSignal): Promise<Buffer | undefined> {
    if (node !== undefined) this.#kept.expect(key);
    return this.#options.daemon.value(key, { node, signal });
  }

  async #pointer(namespace: string, digest: BlockDigest, node?: NodeId): Promise<BlockDigest | undefined> {
    const value = await this.#value(pointerKey(namespace, digest), node);
    const last = value?.toString('latin1') ?? '';
    return lastPattern.test(last) ? last : undefined;
  }

  /** What is damaged is not there. */
  async #head(namespace: string, last: BlockDigest, node?: NodeId): Promise<EnvelopeHead | undefined> {
    const value = await this.#value(headKey(namespace, last), node);
    try {
      return value && parseHead(value);
    } catch {
      return undefined;
    }
  }

  async #point(state: KeptState): Promise<void> {
    const value = Buffer.from(state.last, 'latin1');
    await sideBySide(state.digests, sideBySideMax, (digest) =>
      this.#put(pointerKey(state.namespace, digest), value),
    );
    this.#kept.keep(state, state.digests);
  }

  /** What was fetched lies here now: who asks this host finds it, too. */
  async #adopt({ namespace, last, parts }: Place): Promise<void> {
    const head = await this.#head(namespace, last);
    const there = await this.#options.daemon.exists(stateKeys({ namespace, last, parts }));
    if (head === undefined || !there.every(Boolean)) return;
    await this.#point({ namespace, last, parts, digests: [...head.digests].map(hexOf) });
  }

  /** States that end within this one are in it, and their pointers lead here now. */
  async #dropBeginnings({ namespace, digests, last }: KeptState): Promise<void> {
    const ends = digests.filter((digest) => digest !== last);
    const there = await this.#options.daemon.exists(ends.map((end) => headKey(namespace, end)));
    for (const end of ends.filter((_, at) => there[at])) {
      const head = await this.#head(namespace, end);
      const parts = head === undefined ? 0 : partsOf(head, this.#partBytes);
      const keys = stateKeys({ namespace, last: end, parts });
      this.#kept.gone(keys);
      await this.#remove(keys);
    }
  }

  /** After states are gone. */
  async #tidy({ useless, moved }: Aftermath): Promise<void> {
    await this.#remove(useless);
    await sideBySide(moved, sideBySideMax, ({ key, last }) => this.#put(key, Buffer.from(last, 'latin1')));
  }

  /** Never rejects: what stays leads nowhere, and is evicted some day. */
  async #remove(keys: readonly string[]): Promise<void> {
    await sideBySide(keys, sideBySideMax, (key) => this.#options.daemon.remove(key).catch(() => {}));
  }
}

const hexOfBytes = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const partsOf = (head: EnvelopeHead, partBytes: number): number =>
  Math.ceil(envelopeBytesOf(head) / partBytes);

const prefixOf = ({ place, head, blocks }: Found): SavedPrefix => {
  const { namespace, last, parts, node } = place;
  return {
    id: `${namespace}:${last}/${parts}${node === undefined ? '' : `@${node}`}`,
    blocks,
    tokens: Math.floor((head.tokens * blocks) / head.digests.length),
    bytes: envelopeBytesOf(head),
  };
};

const placeOf = (id: string): Place => {
  const [, namespace, last, parts, node] = idPattern.exec(id) ?? [];
  if (namespace === undefined || last === undefined) throw new RangeError('no name of an envelope');
  return { namespace, last, parts: Number(parts), node: node as NodeId | undefined };
};

/** The bytes in pieces of just that size, but for the last one. */
async function* inPieces(bytes: AsyncIterable<Uint8Array>, pieceBytes: number): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const part of bytes) {
    let rest = part;
    while (held + rest.length >= pieceBytes) {
      const taken = rest.subarray(0, pieceBytes - held);
      yield Buffer.concat([...parts, taken]);
      rest = rest.subarray(taken.length);
      parts = [];
      held = 0;
    }
    if (rest.length > 0) parts.push(rest);
    held += rest.length;
  }
  if (held > 0) yield Buffer.concat(parts);
}
