/**
 * Values from other hosts: from whoever holds them, by the best path, into the store's own memory. One fetch for
 * all who ask for the same key; a bounded number at once and in line; nothing beyond the deadline after which
 * computing anew is better. A fetch that breaks goes on where it stands, by another connection, transport or
 * holder. What is not exactly what was announced is a miss with a count, never an answer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeId } from '@cognitora/protocol/ids';
import { isSharedKey } from '../namespaces.ts';
import { type HeldValue, type KvStore, type NewValue, valueBytesMax } from '../store.ts';
import { PeerError, type PeerFailure, peerErrorOf } from './codes.ts';
import type { PeerCounters } from './counts.ts';
import { get, newTransfer, type Transfer } from './exchange.ts';
import type { Fabric } from './fabric.ts';
import { keyDigest } from './key-digest.ts';
import {
  attemptsMax,
  failedMsMax,
  fetchesMax,
  fetchesPerPeerMax,
  fetchesWaitingMax,
  fetchMsMax,
  holderUnknownMsMax,
  patienceLookMs,
  placeMsMax,
  rememberedMax,
} from './limits.ts';
import type { Path } from './path.ts';
import { Patience } from './patience.ts';
import { Remembered } from './remembered.ts';
import { Slots } from './slots.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { Channel } from './transport.ts';
import { type AskHolders, WhoHas } from './who-has.ts';
import type { Head } from './wire.ts';
import { within } from './within.ts';

export interface PeerTierOptions {
  readonly store: KvStore;
  readonly fabric: Fabric;
  readonly counters: PeerCounters;
  readonly ask: AskHolders;
  /** What may come from that peer; undefined: as fast as it goes. */
  readonly cap: (node: NodeId) => TokenBucket | undefined;
  /** Monotonic, and since 1970. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
}

export interface FetchOptions {
  /** Nobody else is asked. */
  readonly node?: NodeId | undefined;
  /** Instead of asking who. */
  readonly holders?: readonly NodeId[] | undefined;
  /** From now. */
  readonly deadlineMs?: number | undefined;
  /** A longer value is none that was meant. */
  readonly bytesMax?: number | undefined;
}

export interface TierCounts {
  readonly fetches: number;
  /** Nobody held it. */
  readonly unheld: number;
  /** Somebody was said to hold it, and it did not come. */
  readonly failures: Readonly<Partial<Record<PeerFailure, number>>>;
  readonly inFlight: number;
}

interface Going {
  readonly endsAtMs: number;
  readonly bytesMax: number;
  readonly key: string;
  /** Holders that this fetch found slow itself: by another transport they get another try. */
  readonly slow: Set<NodeId>;
  transfer: Transfer;
  room: NewValue | undefined;
}

export class PeerTier {
  readonly #options: PeerTierOptions;
  readonly #whoHas: WhoHas;
  /** What failed a moment ago: a holder, a holder and a key, or `slow` or `behind` and a holder, see `#learn`. */
  readonly #failed: Remembered;
  readonly #flights = new Map<string, Promise<HeldValue | undefined>>();
  readonly #slots = new Slots({ max: fetchesMax, waitingMax: fetchesWaitingMax });
  readonly #ofPeer = new Map<NodeId, Slots>();
  readonly #failures: Partial<Record<PeerFailure, number>> = {};
  #fetches = 0;
  #unheld = 0;

  constructor(options: PeerTierOptions) {
    const { ask, nowMs } = options;
    this.#options = options;
    this.#whoHas = new WhoHas(ask, nowMs);
    this.#failed = new Remembered({ msMax: failedMsMax, entriesMax: rememberedMax, nowMs });
  }

  get counts(): TierCounts {
    return {
      fetches: this.#fetches,
      unheld: this.#unheld,
      failures: this.#failures,
      inFlight: this.#flights.size,
    };
  }

  /** There is nobody to ask, or nobody else's value is one of this key. */
  isOutOf(key: string): boolean {
    return this.#options.fabric.isAlone || !isSharedKey(key);
  }

  /** Somebody who can be reached is said to hold it. */
  async has(key: string): Promise<boolean> {
    return this.#usable(key, await this.#whoHas.holdersOf(key)).length > 0;
  }

  /** The value, held, and from now on in the store; undefined when it did not come in time. Never rejects. */
  async fetch(key: string, options: FetchOptions = {}): Promise<HeldValue | undefined> {
    const { deadlineMs = fetchMsMax } = options;
    const flight = this.#flights.get(key) ?? this.#start(key, options, deadlineMs);
    // Who joins one that began before may have less time.
    const value = await within(flight, deadlineMs, 'late').catch(() => undefined);
    return value && this.#options.store.hold(key);
  }

  /** The bytes as that peer has them, whatever is here; nothing is stored. Throws `PeerError`. */
  async read(node: NodeId, key: string, bytesMax: number): Promise<Buffer> {
    const transfer = newTransfer();
    const roomFor = ({ total }: Head): Buffer => {
      if (total > bytesMax) throw new PeerError('excess');
      return Buffer.alloc(total);
    };
    const [path] = this.#options.fabric.pathsTo(node);
    if (path === undefined) throw new PeerError('unreachable');
    await this.#exchange(path, this.#options.nowMs() + fetchMsMax, (channel) =>
      get(channel, key, transfer, { roomFor, onData: () => undefined }),
    );
    return transfer.target;
  }

  #start(key: string, options: FetchOptions, deadlineMs: number): Promise<HeldValue | undefined> {
    const endsAtMs = this.#options.nowMs() + deadlineMs;
    const flight = this.#fly(key, options, endsAtMs)
      .catch((thrown: unknown) => {
        const { code } = peerErrorOf(thrown);
        this.#failures[code] = (this.#failures[code] ?? 0) + 1;
        return undefined;
      })
      .finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  async #fly(key: string, options: FetchOptions, endsAtMs: number): Promise<HeldValue | undefined> {
    const { nowMs } = this.#options;
    const told = options.node === undefined ? options.holders : [options.node];
    const holders = this.#usable(key, told ?? (await this.#whoHas.holdersOf(key)));
    if (holders.length === 0) {
      this.#unheld += 1;
      return undefined;
    }
    this.#fetches += 1;
    const { bytesMax = valueBytesMax } = options;
    const startedMs = nowMs();
    const going: Going = {
      ...{ key, endsAtMs, bytesMax, slow: new Set() },
      ...{ transfer: newTransfer(), room: undefined },
    };
    try {
      await this.#fromAnyOf(holders, going);
      const held = this.#commit(going);
      // All who wait take it in this turn, before anything can evict it.
      setImmediate(() => held?.release());
      if (held !== undefined) this.#options.store.times.peer.observe(nowMs() - startedMs);
      return held;
    } finally {
      going.room?.abort();
    }
  }

  /** Reached, and not failed a moment ago; who brings it sooner first, and who was left for others last. */
  #usable(key: string, holders: readonly NodeId[]): readonly NodeId[] {
    const { fabric } = this.#options;
    const msOf = (node: NodeId): number =>
      (fabric.pathsTo(node)[0]?.msFor(2 ** 20) ?? 1e6) + (this.#failed.has(`behind ${node}`) ? 1e9 : 0);
    return holders
      .filter((node) => !this.#isRefusing(node, key) && !this.#failed.has(`slow ${node}`))
      .filter((node) => fabric.pathsTo(node).length > 0)
      .sort((one, other) => msOf(one) - msOf(other));
  }

  /** Resolves when all of it is here; rejects with why the last try failed. */
  async #fromAnyOf(holders: readonly NodeId[], going: Going): Promise<void> {
    const { fabric, nowMs, counters } = this.#options;
    let paths = holders.flatMap((node) => fabric.pathsTo(node));
    let last = new PeerError('unreachable');
    for (let attempts = 0; attempts < attemptsMax; attempts += 1) {
      paths = paths.filter(({ node }) => fabric.has(node) && this.#isToTry(node, going));
      const path = paths.shift();
      if (path === undefined) break;
      const isOther = ({ node }: Path): boolean => node !== path.node;
      const hasOthers = paths.some(isOther);
      const othersFirst = (): Path[] => [...paths.filter(isOther), ...paths.filter((one) => !isOther(one))];
      const place = await this.#place(path.node, going.endsAtMs, hasOthers).catch(peerErrorOf);
      if (place instanceof PeerError) {
        last = place;
        paths = othersFirst();
        continue;
      }
      const before = going.transfer.at;
      try {
        // While it waited others may have learned of the holder.
        if (this.#isToTry(path.node, going)) return await this.#from(path, going, hasOthers);
      } catch (thrown) {
        last = peerErrorOf(thrown);
        counters.failed(path.node, path.transport, last.code);
        this.#learn(path, going, last.code, hasOthers);
        if (last.code === 'late' || last.code === 'no room' || nowMs() >= going.endsAtMs) throw last;
        // Whoever goes mostly goes on all paths, and to notice takes time: the others first.
        paths = othersFirst();
        // Who is slow is so at all addresses, but the network may let the other transport through.
        if (last.code === 'stalled')
          paths = paths.filter((one) => isOther(one) || one.transport !== path.transport);
        // What came before was of another value: this one may bring its own whole.
        if (last.code === 'changed') paths.unshift(path);
        // It moved: another connection of the same path may bring the rest.
        else if (last.code !== 'stalled' && going.transfer.at > before) paths.push(path);
      } finally {
        place.free();
      }
    }
    throw last;
  }

  /** The peer's first, so that who waits for a slow one takes nothing from the rest. */
  async #place(node: NodeId, endsAtMs: number, hasOthers: boolean): Promise<{ readonly free: () => void }> {
    const { nowMs } = this.#options;
    const ofPeer = this.#slotsOf(node);
    const leftMs = endsAtMs - nowMs();
    await ofPeer.take(hasOthers ? Math.min(placeMsMax, leftMs) : leftMs);
    const freeOfPeer = (): void => {
      ofPeer.free();
      if (ofPeer.isIdle) this.#ofPeer.delete(node);
    };
    try {
      await this.#slots.take(endsAtMs - nowMs());
    } catch (thrown) {
      freeOfPeer();
      throw thrown;
    }
    const free = (): void => {
      this.#slots.free();
      freeOfPeer();
    };
    return { free };
  }

  #isToTry(node: NodeId, { key, slow }: Going): boolean {
    return !this.#isRefusing(node, key) && (slow.has(node) || !this.#failed.has(`slow ${node}`));
  }

  #isRefusing(node: NodeId, key: string): boolean {
    return this.#failed.has(node) || this.#failed.has(`${node} ${keyDigest(key)}`);
  }

  #learn(path: Path, going: Going, code: PeerFailure, hasOthers: boolean): void {
    const { nowMs } = this.#options;
    const { node } = path;
    // Left because others may be quicker, it comes after them for a while; too slow by itself, it is no holder.
    if (code === 'stalled') this.#failed.add(`${hasOthers ? 'behind' : 'slow'} ${node}`);
    if (code === 'stalled') going.slow.add(node);
    if (code === 'missing' || code === 'busy') this.#failed.add(`${path.node} ${keyDigest(going.key)}`);
    const isOfPath = code === 'unreachable' || code === 'refused' || (code === 'stalled' && !hasOthers);
    if (isOfPath) path.failed(code, nowMs());
    const isLying = code === 'garbage' || code === 'excess' || code === 'corrupt';
    if (isLying) this.#failed.add(path.node);
    // What came of it so far is not to be mixed with anything.
    if (isLying || code === 'changed') {
      going.room?.abort();
      going.room = undefined;
      going.transfer = newTransfer();
    }
  }

  async #from(path: Path, going: Going, hasOthers: boolean): Promise<void> {
    const { nowMs, counters, cap } = this.#options;
    const { key, endsAtMs, transfer } = going;
    const { node } = path;
    const counts = counters.of(path.node, path.transport);
    const bucket = cap(path.node);
    let patience: Patience | undefined;
    const onData = (bytes: number): Promise<void> | undefined => {
      counts.bytesIn += bytes;
      const waitMs = bucket?.take(bytes, nowMs()) ?? 0;
      patience?.paused(waitMs);
      return waitMs > 0 ? delay(waitMs) : undefined;
    };
    const roomFor = (head: Head): Buffer => {
      if (head.total > going.bytesMax) throw new PeerError('excess', `a value of ${head.total} bytes`);
      const ms = path.msFor(head.total);
      if (ms !== undefined && nowMs() + ms > endsAtMs) throw new PeerError('late', 'it would be');
      going.room = this.#options.store.reserve(key, head.total);
      if (going.room === undefined) throw new PeerError('no room');
      return going.room.bytes;
    };
    const [startedMs, from] = [nowMs(), transfer.at];
    const isOver = (came: number): boolean => {
      const left = transfer.head && transfer.head.total - transfer.at;
      const sharing = this.#ofPeer.get(node)?.taken ?? 1;
      return patience?.isOver({ nowMs: nowMs(), left, came, sharing }) ?? false;
    };
    const exchanging = (channel: Channel): Promise<void> => {
      const msFor = (bytes: number): number | undefined => path.msFor(bytes);
      patience = new Patience({ startedMs: nowMs(), endsAtMs, hasOthers, msFor });
      return this.#watched(channel, isOver, get(channel, key, transfer, { roomFor, onData }));
    };
    await this.#exchange(path, endsAtMs, exchanging, hasOthers ? holderUnknownMsMax : undefined);
    if (bucket === undefined) path.brought(transfer.at - from, nowMs() - startedMs);
    counts.fetched += 1;
    for (const how of ['slow', 'behind']) this.#failed.delete(`${how} ${node}`);
  }

  /** Cut as soon as the holder is to be left. */
  async #watched(channel: Channel, isOver: (came: number) => boolean, going: Promise<void>): Promise<void> {
    const before = channel.came;
    let isLeft = false;
    const timer = setInterval(() => {
      isLeft ||= isOver(channel.came - before);
      if (isLeft) channel.cut();
    }, patienceLookMs);
    try {
      await going;
    } catch (thrown) {
      throw isLeft ? new PeerError('stalled', 'too slow') : thrown;
    } finally {
      clearInterval(timer);
    }
  }

  /** On a channel of that path, which is cut at the deadline. */
  async #exchange(
    path: Path,
    endsAtMs: number,
    does: (channel: Channel) => Promise<void>,
    connectMsMax = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const { nowMs } = this.#options;
    const leftMs = endsAtMs - nowMs();
    const isShort = connectMsMax < leftMs;
    const code = isShort ? 'unreachable' : 'late';
    const taken = path.trunk.take();
    const channel = await within(taken, Math.min(connectMsMax, leftMs), code, (late) => late.giveBack());
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        channel.cut();
      },
      Math.max(0, endsAtMs - nowMs()),
    );
    try {
      await does(channel);
    } catch (thrown) {
      throw isLate ? new PeerError('late') : thrown;
    } finally {
      clearTimeout(timer);
    }
  }

  #slotsOf(node: NodeId): Slots {
    const slots =
      this.#ofPeer.get(node) ?? new Slots({ max: fetchesPerPeerMax, waitingMax: fetchesWaitingMax });
    this.#ofPeer.set(node, slots);
    return slots;
  }

  /** Into the store, unless somebody stored the key meanwhile: theirs is newer. */
  #commit(going: Going): HeldValue | undefined {
    const { store, wallMs } = this.#options;
    const { key, room } = going;
    going.room = undefined;
    if (store.has(key)) room?.abort();
    else {
      const { leftMs = 0 } = going.transfer.head ?? {};
      const expiresAtMs = leftMs > 0 ? wallMs() + leftMs : undefined;
      room?.commit({ expiresAtMs, isFetched: true });
    }
    return store.hold(key);
  }
}
