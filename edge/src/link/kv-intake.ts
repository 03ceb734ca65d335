/**
 * What one agent may say unasked: frames that serve no stream cost no credit, and all of them cost the one thread that
 * a region's decisions run on. Two token buckets, of frames and of digests. What is over the bound is not read: a
 * report of a cache is missed, so that its replica is blind until a snapshot; who goes on for a whole burst more is
 * thrown out. Snapshots are asked for no faster than the digests they may hold are free, and read uncounted.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { type Frame, frameTypes } from '@cognitora/protocol/frame';
import {
  type KvBlocks,
  type KvDelta,
  type KvFeedOpen,
  type KvMark,
  type KvSnapshotPart,
  type KvWant,
  kvAddress,
  parseKvDelta,
  parseKvFeed,
  parseKvMark,
  parseKvSnapshot,
} from '@cognitora/protocol/kv';
import {
  type KvAsk,
  type KvHeld,
  type KvPeer,
  parseKvAsk,
  parseKvHeld,
  parseKvPeer,
} from '@cognitora/protocol/kv-fabric';
import {
  kvAsksPerSecond,
  kvDigestsBurst,
  kvDigestsPerFeedMax,
  kvDigestsPerSecond,
  kvFeedsPerLinkMax,
  kvHeldDigestsPerSecond,
  kvKeysPerNodeMax,
  unaskedFramesBurst,
  unaskedFramesPerSecond,
} from '@cognitora/protocol/limits';
import type { Clock } from '../clock.ts';
import { TokenBucket } from './token-bucket.ts';

/** What the agent says of its replicas' caches; `missed`: that something was not read. */
export type KvCacheMessage =
  | { readonly type: 'feed'; readonly feed: KvFeedOpen }
  | { readonly type: 'delta'; readonly delta: KvDelta }
  | { readonly type: 'snapshot'; readonly snapshot: KvSnapshotPart }
  | { readonly type: 'mark'; readonly mark: KvMark }
  | { readonly type: 'missed'; readonly missed: { readonly feed: number } };

/** What the agent says of its host's KV daemon. */
export type KvFabricMessage =
  | { readonly type: 'peer'; readonly peer: KvPeer }
  | { readonly type: 'held'; readonly held: KvHeld }
  | { readonly type: 'ask'; readonly ask: KvAsk };

export type KvMessage = KvCacheMessage | KvFabricMessage;

export const isOfFabric = (message: KvMessage): message is KvFabricMessage =>
  message.type === 'peer' || message.type === 'held' || message.type === 'ask';

/** So many bytes of JSON count as one frame more: to read and act on them takes as long. */
const jsonBytesPerFrame = 256;

/** The frames that a node may send; it outlives a link, so that a dial brings no new ones. */
export const newFrameBucket = (clock: Clock): TokenBucket =>
  new TokenBucket({ clock, perSecond: unaskedFramesPerSecond, burst: unaskedFramesBurst });

/** A snapshot that was asked for. */
interface Awaited {
  readonly request: number;
  /** Of the digests that were set aside for it. */
  digestsLeft: number;
}

const digestsIn = (blocks: readonly KvBlocks[]): number =>
  blocks.reduce((sum, { digests }) => sum + digests.length / 2, 0);

const flooded = (): CognitoraError =>
  new CognitoraError(
    'flooded',
    'This node says more than an edge listens to. Look for what its agent repeats.',
  );

/** Of a daemon that said more than is read: what it holds is not known. */
const nothingHeld: KvHeld = { isCleared: true, added: new Uint32Array(), removed: new Uint32Array() };

export class KvIntake {
  readonly #frames: TokenBucket;
  readonly #digests: TokenBucket;
  readonly #held: TokenBucket;
  readonly #asks: TokenBucket;
  /** By feed. */
  readonly #awaited = new Map<number, Awaited>();
  /** By feed: the newest counts. */
  readonly #wants = new Map<number, KvWant>();

  constructor(clock: Clock, frames: TokenBucket) {
    this.#frames = frames;
    this.#digests = new TokenBucket({ clock, perSecond: kvDigestsPerSecond, burst: kvDigestsBurst });
    this.#held = new TokenBucket({ clock, perSecond: kvHeldDigestsPerSecond, burst: kvKeysPerNodeMax });
    this.#asks = new TokenBucket({ clock, perSecond: kvAsksPerSecond, burst: 2 * kvAsksPerSecond });
  }

  /** Counts a frame that serves no stream. False: it is not to be read. Throws `flooded`. */
  admits(frames = 1): boolean {
    this.#frames.charge(frames);
    const { level } = this.#frames;
    if (level <= -unaskedFramesBurst) throw flooded();
    return level >= 0;
  }

  /** Counts a frame that cannot be passed over without being wrong about the node from then on. Throws `flooded`. */
  admitJson({ payload }: Frame): void {
    if (!this.admits(1 + payload.length / jsonBytesPerFrame)) throw flooded();
  }

  /** Counts the length of a frame that was admitted as one and may be passed over all the same. Throws `flooded`. */
  admitsLength({ payload }: Frame): boolean {
    return this.admits(Math.floor(payload.length / jsonBytesPerFrame));
  }

  /** Reads a frame that speaks of caches; undefined for any other, and for what says nothing. */
  read(frame: Frame): KvMessage | undefined {
    const { type, payload } = frame;
    switch (type) {
      case frameTypes.kvfeed:
        this.admitJson(frame);
        return { type: 'feed', feed: parseKvFeed(payload) };
      case frameTypes.kvdelta:
        return this.#delta(payload);
      case frameTypes.kvsnapshot:
        return this.#snapshot(payload);
      case frameTypes.kvmark:
        return this.admits() ? { type: 'mark', mark: parseKvMark(payload) } : undefined;
      case frameTypes.kvpeer:
        this.admitJson(frame);
        return { type: 'peer', peer: parseKvPeer(payload) };
      case frameTypes.kvheld:
        return { type: 'held', held: this.#heldIn(payload) };
      case frameTypes.kvask:
        return this.admits() && this.#asks.take(1) ? { type: 'ask', ask: parseKvAsk(payload) } : undefined;
      default:
        return undefined;
    }
  }

  #heldIn(payload: Uint8Array): KvHeld {
    if (!this.admits()) return nothingHeld;
    const held = parseKvHeld(payload);
    return this.#held.take((held.added.length + held.removed.length) / 2) ? held : nothingHeld;
  }

  /** The edge wants a snapshot. It is asked for when `due` gives it. */
  want(want: KvWant): void {
    if (want.feed < kvFeedsPerLinkMax) this.#wants.set(want.feed, want);
  }

  /** The next snapshot that may be asked for now. */
  due(): KvWant | undefined {
    const [want] = this.#wants.values();
    if (want === undefined) return undefined;
    // What was set aside for an older answer of the same feed serves the newer one.
    this.#release(want.feed);
    if (!this.#digests.take(kvDigestsPerFeedMax)) return undefined;
    this.#wants.delete(want.feed);
    this.#awaited.set(want.feed, { request: want.request, digestsLeft: kvDigestsPerFeedMax });
    return want;
  }

  #delta(payload: Uint8Array): KvMessage | undefined {
    const { feed } = kvAddress(payload);
    if (!this.admits()) return { type: 'missed', missed: { feed } };
    const delta = parseKvDelta(payload);
    const digests = digestsIn(delta.added) + digestsIn(delta.removed);
    return this.#digests.take(digests) ? { type: 'delta', delta } : { type: 'missed', missed: { feed } };
  }

  /** A part that nobody waits for says nothing. */
  #snapshot(payload: Uint8Array): KvMessage | undefined {
    const { feed, request } = kvAddress(payload);
    const awaited = this.#awaited.get(feed);
    const isHeard = this.admits();
    if (awaited === undefined || awaited.request !== request) return undefined;
    if (!isHeard) return { type: 'missed', missed: { feed } };
    const snapshot = parseKvSnapshot(payload);
    awaited.digestsLeft -= digestsIn(snapshot.blocks);
    const over = Math.max(0, -awaited.digestsLeft);
    if (over > 0 && !this.#digests.take(over)) return { type: 'missed', missed: { feed } };
    awaited.digestsLeft += over;
    if (snapshot.isLast) this.#release(feed);
    return { type: 'snapshot', snapshot };
  }

  #release(feed: number): void {
    this.#digests.give(Math.max(0, this.#awaited.get(feed)?.digestsLeft ?? 0));
    this.#awaited.delete(feed);
  }
}
