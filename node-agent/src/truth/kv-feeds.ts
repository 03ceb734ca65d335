/**
 * Tells the edge what the ledgers hold: numbers the feeds, opens them all anew on each link, sends what changed, gives
 * snapshots when asked, one part at a time, and marks the sequence of feeds that have nothing to say. Owns no ledger's
 * content. Nothing is sent without a link; a ledger that changed meanwhile is told by the snapshot that follows.
 *
 *   source --open--> numbered --linked--> KVFEED, then KVDELTA | KVMARK, and KVSNAPSHOT for a KVWANT
 *          --close--> KVFEED with trust `blind`, and the number is free
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import {
  encodeKvDelta,
  encodeKvFeed,
  encodeKvMark,
  encodeKvSnapshot,
  type KvBlocks,
  type KvWant,
  type Tier,
  type Trust,
} from '@cognitora/protocol/kv';
import {
  kvDeltaMs,
  kvDigestsPerMessageMax,
  kvFeedsPerLinkMax,
  unaskedFramesPerSecond,
} from '@cognitora/protocol/limits';
import { blindProfile, type PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { KvFrame } from '../link/session.ts';
import type { KvLedger } from './kv-ledger.ts';

/** A feed that said nothing for this long says where it stands: a lost delta is noticed within twice that. */
export const kvMarkMs = 5_000;

/** Deltas take at most half of the frames that an edge reads of a node. */
const msPerDelta = 2_000 / unaskedFramesPerSecond;

/** One replica's cache of one model. */
export interface FeedSource {
  readonly replica: ReplicaName;
  readonly model: string;
  readonly trust: Trust;
  readonly profile: PromptProfile;
  readonly ledger: KvLedger;
  /** Of what the replica's host keeps beside its engine; undefined: nothing. */
  readonly host?: KvLedger | undefined;
}

/** The link, as far as caches go. */
export interface KvLink {
  kv(frame: KvFrame, payload: Uint8Array): void;
}

interface Snapshot {
  readonly want: KvWant;
  readonly source: FeedSource;
  readonly sequence: number;
  readonly held: Readonly<Record<Tier, Uint32Array>>;
  part: number;
}

const wordsPerMessage = 2 * kvDigestsPerMessageMax;
const noDigests = new Uint32Array();

const blocksOf = (tier: Tier, digests: Uint32Array): readonly KvBlocks[] =>
  digests.length === 0 ? [] : [{ tier, digests }];

/** Each ledger counts its own deltas; all of a feed are counted together. */
const sequenceOf = ({ ledger, host }: FeedSource): number => ledger.sequence + (host?.sequence ?? 0);

export class KvFeeds {
  readonly #sources = new Map<number, FeedSource>();
  /** Who spoke since the last round of marks. */
  readonly #spoke = new Set<FeedSource>();
  /** By feed: the edge wants only what it asked for last. */
  readonly #wants = new Map<number, KvWant>();
  #loading: Snapshot | undefined;
  #link: KvLink | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #isChanged = false;
  #marking: NodeJS.Timeout | undefined;

  /** A link is open: all that was said on an older one is forgotten there. */
  linked(link: KvLink): void {
    this.unlinked();
    this.#link = link;
    for (const [feed, source] of this.#sources) this.#announce(feed, source);
    this.#marking = setInterval(() => this.#mark(), kvMarkMs);
  }

  unlinked(): void {
    this.#link = undefined;
    this.#loading = undefined;
    this.#wants.clear();
    clearTimeout(this.#gathering);
    clearInterval(this.#marking);
    this.#gathering = undefined;
    this.#isChanged = false;
  }

  /** False: the link has no number left, and nobody will hear of this ledger. */
  open(source: FeedSource): boolean {
    let feed = 0;
    while (this.#sources.has(feed)) feed += 1;
    if (feed >= kvFeedsPerLinkMax) return false;
    this.#sources.set(feed, source);
    if (this.#link !== undefined) this.#announce(feed, source);
    return true;
  }

  close(source: FeedSource): void {
    const feed = this.#numberOf(source);
    if (feed === undefined) return;
    const { replica, model } = source;
    const blind = { feed, replica, model, trust: 'blind', profile: blindProfile } as const;
    this.#link?.kv('kvfeed', encodeKvFeed(blind));
    this.#sources.delete(feed);
    this.#wants.delete(feed);
    if (this.#loading?.source === source) this.#loading = undefined;
  }

  /** A ledger changed: the edge hears of it at once, and of what changes next together, `kvDeltaMs` later. */
  changed(): void {
    if (this.#link === undefined) return;
    this.#isChanged = true;
    if (this.#gathering === undefined) this.#gather();
  }

  /** A ledger changed, and the edge must know before anything else is said. */
  changedNow(source: FeedSource): void {
    const feed = this.#numberOf(source);
    if (feed !== undefined && this.#link !== undefined) this.#tell(feed, source);
  }

  /** The edge asks for a snapshot. */
  wanted(want: KvWant): void {
    if (this.#link === undefined || !this.#sources.has(want.feed)) return;
    if (this.#loading?.want.feed === want.feed) this.#loading = undefined;
    this.#wants.set(want.feed, want);
    if (this.#loading === undefined) this.idle();
  }

  /** The link has sent all that it had: time for one part of a snapshot. */
  idle(): void {
    this.#loading ??= this.#nextSnapshot();
    if (this.#loading !== undefined) this.#sendPart(this.#loading);
  }

  #numberOf(source: FeedSource): number | undefined {
    for (const [feed, candidate] of this.#sources) if (candidate === source) return feed;
    return undefined;
  }

  #announce(feed: number, { ledger, host, ...open }: FeedSource): void {
    ledger.settle();
    host?.settle();
    this.#link?.kv('kvfeed', encodeKvFeed({ feed, ...open }));
  }

  /** Tells what changed, and again after a while, until nothing does. */
  #gather(): void {
    this.#gathering = undefined;
    if (!this.#isChanged) return;
    this.#isChanged = false;
    let deltas = 0;
    for (const [feed, source] of this.#sources) deltas += this.#tell(feed, source);
    this.#gathering = setTimeout(() => this.#gather(), Math.max(kvDeltaMs, deltas * msPerDelta));
  }

  /** Returns in how many deltas. */
  #tell(feed: number, source: FeedSource): number {
    const { ledger, host } = source;
    let deltas = this.#tellTier(feed, source, 'device', ledger);
    if (host !== undefined) deltas += this.#tellTier(feed, source, 'host', host);
    return deltas;
  }

  #tellTier(feed: number, source: FeedSource, tier: Tier, ledger: KvLedger): number {
    let deltas = 0;
    for (let delta = ledger.takeDelta(); delta !== undefined; delta = ledger.takeDelta()) {
      const { isCleared } = delta;
      const [added, removed] = [blocksOf(tier, delta.added), blocksOf(tier, delta.removed)];
      const sequence = sequenceOf(source);
      this.#link?.kv('kvdelta', encodeKvDelta({ feed, sequence, isCleared, added, removed }));
      // The edge forgot all tiers.
      if (isCleared) source.host?.retell();
      this.#spoke.add(source);
      deltas += 1;
    }
    return deltas;
  }

  #mark(): void {
    for (const [feed, source] of this.#sources) {
      if (!this.#spoke.delete(source)) {
        this.#link?.kv('kvmark', encodeKvMark({ feed, sequence: sequenceOf(source) }));
      }
    }
  }

  #nextSnapshot(): Snapshot | undefined {
    const [want] = this.#wants.values();
    if (want === undefined) return undefined;
    this.#wants.delete(want.feed);
    const source = this.#sources.get(want.feed);
    if (source === undefined) return undefined;
    this.#tell(want.feed, source);
    const held = { device: source.ledger.cut().digests, host: source.host?.cut().digests ?? noDigests };
    return { want, source, sequence: sequenceOf(source), held, part: 0 };
  }

  #sendPart(snapshot: Snapshot): void {
    const { want, sequence, held, part } = snapshot;
    const from = part * wordsPerMessage;
    const to = from + wordsPerMessage;
    const { device, host } = held;
    const isLast = to >= device.length + host.length;
    const ofHost = host.subarray(Math.max(0, from - device.length), Math.max(0, to - device.length));
    const blocks = [...blocksOf('device', device.subarray(from, to)), ...blocksOf('host', ofHost)];
    snapshot.part += 1;
    if (isLast) this.#loading = undefined;
    this.#link?.kv('kvsnapshot', encodeKvSnapshot({ ...want, sequence, part, isLast, blocks }));
  }
}
