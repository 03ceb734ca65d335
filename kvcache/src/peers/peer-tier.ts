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
  rememberedMax,
} from './limits.ts';
import type { Path } from './path.ts';
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
  transfer: Transfer;
  room: NewValue | undefined;
}

export class PeerTier {
  readonly #options: PeerTierOptions;
  readonly #whoHas: WhoHas;
  /** A holder and a key, or a holder alone, that failed a moment ago. */
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
    await this.#slots.take(endsAtMs - nowMs());
    const { bytesMax = valueBytesMax } = options;
    const startedMs = nowMs();
    const going: Going = { key, endsAtMs, bytesMax, transfer: newTransfer(), room: undefined };
    try {
      await this.#fromAnyOf(holders, going);
      const held = this.#commit(going);
      // All who wait take it in this turn, before anything can evict it.
      setImmediate(() => held?.release());
      if (held !== undefined) this.#options.store.times.peer.observe(nowMs() - startedMs);
      return held;
    } finally {
      going.room?.abort();
      this.#slots.free();
    }
  }

  /** Reached, and not failed a moment ago; who brings it sooner first. */
  #usable(key: string, holders: readonly NodeId[]): readonly NodeId[] {
    const { fabric } = this.#options;
    const digest = keyDigest(key);
    const msOf = (node: NodeId): number => fabric.pathsTo(node)[0]?.msFor(2 ** 20) ?? 1e6;
    return holders
      .filter((node) => !this.#failed.has(node) && !this.#failed.has(`${node} ${digest}`))
      .filter((node) => fabric.pathsTo(node).length > 0)
      .sort((one, other) => msOf(one) - msOf(other));
  }

  /** Resolves when all of it is here; rejects with why the last try failed. */
  async #fromAnyOf(holders: readonly NodeId[], going: Going): Promise<void> {
    const { fabric, nowMs, counters } = this.#options;
    let paths = holders.flatMap((node) => fabric.pathsTo(node));
    let last = new PeerError('unreachable');
    for (let attempts = 0; attempts < attemptsMax; attempts += 1) {
      const path = paths.shift();
      if (path === undefined) break;
      if (this.#isRefusing(path.node, going.key) || !fabric.has(path.node)) {
        attempts -= 1;
        continue;
      }
      const before = going.transfer.at;
      try {
        return await this.#from(path, going);
      } catch (thrown) {
        last = peerErrorOf(thrown);
        counters.failed(path.node, path.transport, last.code);
        this.#learn(path, going, last.code);
        if (last.code === 'late' || last.code === 'no room' || nowMs() >= going.endsAtMs) throw last;
        // Whoever goes mostly goes on all paths, and to notice takes time: the others first.
        const isOther = ({ node }: Path): boolean => node !== path.node;
        paths = [...paths.filter(isOther), ...paths.filter((one) => !isOther(one))];
        // What came before was of another value: this one may bring its own whole.
        if (last.code === 'changed') paths.unshift(path);
        // It moved: another connection of the same path may bring the rest.
        else if (going.transfer.at > before) paths.push(path);
      }
    }
    throw last;
  }

  #isRefusing(node: NodeId, key: string): boolean {
    return this.#failed.has(node) || this.#failed.has(`${node} ${keyDigest(key)}`);
  }

  #learn(path: Path, going: Going, code: PeerFailure): void {
    const { nowMs } = this.#options;
    if (code === 'missing' || code === 'busy') this.#failed.add(`${path.node} ${keyDigest(going.key)}`);
    if (code === 'unreachable' || code === 'refused' || code === 'stalled') path.failed(code, nowMs());
    const isLying = code === 'garbage' || code === 'excess' || code === 'corrupt';
    if (isLying) this.#failed.add(path.node);
    // What came of it so far is not to be mixed with anything.
    if (isLying || code === 'changed') {
      going.room?.abort();
      going.room = undefined;
      going.transfer = newTransfer();
    }
  }

  async #from(path: Path, going: Going): Promise<void> {
    const { nowMs, counters, cap } = this.#options;
    const { key, endsAtMs, transfer } = going;
    const counts = counters.of(path.node, path.transport);
    const bucket = cap(path.node);
    const onData = (bytes: number): Promise<void> | undefined => {
      counts.bytesIn += bytes;
      const waitMs = bucket?.take(bytes, nowMs()) ?? 0;
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
    const slots = this.#slotsOf(path.node);
    await slots.take(endsAtMs - nowMs());
    try {
      const [startedMs, from] = [nowMs(), transfer.at];
      await this.#exchange(path, endsAtMs, (channel) => get(channel, key, transfer, { roomFor, onData }));
      if (bucket === undefined) path.brought(transfer.at - from, nowMs() - startedMs);
      counts.fetched += 1;
    } finally {
      slots.free();
      if (slots.isIdle) this.#ofPeer.delete(path.node);
    }
  }

  /** On a channel of that path, which is cut at the deadline. */
  async #exchange(path: Path, endsAtMs: number, does: (channel: Channel) => Promise<void>): Promise<void> {
    const { nowMs } = this.#options;
    const taken = path.trunk.take();
    const channel = await within(taken, endsAtMs - nowMs(), 'late', (late) => late.giveBack());
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      channel.cut();
    }, endsAtMs - nowMs());
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
