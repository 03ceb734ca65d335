/**
 * At most 64 replicas of one model, and what decides between them: one prefix map, predictions, learned rates, one
 * policy. Pure: time, eligibility and randomness come in with each call. Owns the turn of a decision, in which the
 * request is booked and its prefix predicted, so that the siblings of a burst see both. Knows no nodes and no links.
 */
import type { Trust } from '@cognitora/protocol/kv';
import {
  type Candidate,
  chooseLowest,
  defaultPolicy,
  type Policy,
  type Scene,
  type Score,
} from '../policy/policy.ts';
import { CandidateRecords, type DescribedReplica, reachOf, tokensIn } from './candidates.ts';
import { type BlockStore, KvFeed } from './kv-feed.ts';
import { ReplicaLoad, type Reservation } from './load.ts';
import { type Prediction, Predictions, predictionsBytesDefault } from './predictions.ts';
import { type Depths, PrefixMap, type PrefixMapCounts, prefixMapBytesDefault } from './prefix-map.ts';
import { Rates } from './rates.ts';
import { replicasPerCellMax, type Slot } from './replica-slots.ts';
import type { SnapshotTurns } from './snapshot-turns.ts';
import { Truth } from './truth.ts';

/** What a replica shares between the models it serves: one engine works on all of them. */
export interface ReplicaWork {
  readonly load: ReplicaLoad;
  /** Undefined until the first decision about it. */
  rates: Rates | undefined;
  rttMs: number;
  /** Requests that it began to answer since it joined, or since its engine started. */
  answered: number;
}

export const newReplicaWork = (): ReplicaWork => ({
  load: new ReplicaLoad(),
  rates: undefined,
  rttMs: 0,
  answered: 0,
});

/**
 * A replica that is new to the fleet, or whose engine began anew, is the least loaded of all and would draw a whole
 * burst while nobody knows whether it works, how fast it is, or what it will hold. It may have so many requests live,
 * and two more for each that it began to answer, as long as others are past that.
 */
const newLiveMax = 4;
const livePerAnswer = 2;
const answeredUntilSettled = 16;

/** One replica in this cell. Takes next to no memory until somebody speaks of its cache. */
export class Member {
  readonly work: ReplicaWork;
  readonly number: number;
  readonly truth = new Truth();
  /** What its agent says of its cache; `blind` when it says nothing. */
  announced: Trust = 'blind';
  readonly #newFeed: (member: Member) => KvFeed;
  #feed: KvFeed | undefined;

  constructor(work: ReplicaWork, number: number, newFeed: (member: Member) => KvFeed) {
    this.work = work;
    this.number = number;
    this.#newFeed = newFeed;
  }

  /** Where what its agent says of its cache goes. Made when first asked for. */
  get feed(): KvFeed {
    this.#feed ??= this.#newFeed(this);
    return this.#feed;
  }

  /** Its place in the map; undefined while nothing is known. */
  get slot(): Slot | undefined {
    return this.#feed?.slot;
  }

  get trust(): Trust {
    return this.#feed?.isInStep ? this.truth.limit(this.announced) : 'blind';
  }

  /** Answered enough to be trusted with any share of the requests. */
  get isSettled(): boolean {
    return this.work.answered >= answeredUntilSettled;
  }

  get isAtRampLimit(): boolean {
    const { load, answered } = this.work;
    return !this.isSettled && load.live >= newLiveMax + livePerAnswer * answered;
  }

  /** Its engine began anew, with an empty cache: nothing that was learned of its claims holds. */
  beginAnew(): void {
    this.truth.forget();
    this.work.answered = 0;
  }

  /** It left: whatever its agent still says means nothing. */
  close(nowMs: number): void {
    this.#feed?.close(nowMs);
  }
}

export interface CellRequest {
  /** Digests of the prompt from its start, as pairs of low and high word. */
  readonly chain: Uint32Array;
  readonly promptTokens: number;
  /** Tokens that one digest stands for. */
  readonly blockTokens: number;
  readonly nowMs: number;
  readonly isEligible: (member: Member) => boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** A choice that nothing depends on yet: `book` makes it one. Valid until the cell's next `weigh`. */
export interface Choice {
  readonly member: Member;
  readonly candidate: Readonly<Candidate>;
  readonly cost: number;
  /** Blocks that the replica is known to hold, on any tier. */
  readonly heldBlocks: number;
  /** Tokens expected in its cache, by what it claims and what was sent there. */
  readonly expectedTokens: number;
  /** All that could have been chosen, with their costs, for the receipt. */
  readonly candidates: readonly Readonly<Candidate>[];
  readonly costs: Float64Array;
}

interface Booked {
  readonly member: Member;
  readonly prediction: Prediction | undefined;
  readonly expectedTokens: number;
  prefillMs: number | undefined;
}

/** What is known when a request is over. */
export interface Settlement {
  readonly nowMs: number;
  readonly promptTokens?: number | undefined;
  readonly cachedTokens?: number | undefined;
  readonly completionTokens?: number | undefined;
}

interface Shadow {
  readonly policy: Policy;
  readonly score: Score;
  decisions: number;
  differences: number;
}

interface Maps {
  readonly map: PrefixMap;
  readonly predictions: Predictions;
}

export interface CellOptions {
  /** Any 32-bit number that peers do not know. */
  readonly secret: number;
  readonly turns: SnapshotTurns;
  readonly mapBytes?: number;
  readonly replicasMax?: number;
}

/** Before rates are learned the prior may be far off: only what no engine needs for a prompt counts as late. */
const unlearnedLateMs = 15_000;
/** A guess that nobody confirmed ends: after this, and twice the time in which its prefill was expected to be done. */
const predictionMsMin = 60_000;
const predictionWaits = 2;
/** Evictions are counted over so many stored blocks, the older ones half. */
const countedBlocksMax = 8_192;

export class Cell {
  /** Made when the first member's cache becomes known: until then nothing is worth its memory. */
  #maps: Maps | undefined;
  readonly #secret: number;
  readonly #mapBytes: number;
  readonly #turns: SnapshotTurns;
  readonly #replicasMax: number;
  readonly #members: (Member | undefined)[] = [];
  /** Made, like all that follows it here, when first used: a region may hear of thousands of models nobody asks for. */
  #booked: Map<Reservation, Booked> | undefined;
  /** Learned from all members; new ones begin with it. */
  #common: Rates | undefined;
  /** What feeds write to: the map, and the counts beside it. */
  #store: BlockStore | undefined;
  #records: CandidateRecords | undefined;
  #policy: Policy = defaultPolicy;
  #score: Score | undefined;
  #shadow: Shadow | undefined;
  /** Blocks stored and evicted of late: how full the members' caches are. */
  #storedBlocks = 0;
  #evictedBlocks = 0;

  constructor({ secret, turns, mapBytes = prefixMapBytesDefault, replicasMax }: CellOptions) {
    this.#secret = secret;
    this.#mapBytes = mapBytes;
    this.#turns = turns;
    this.#replicasMax = Math.min(replicasMax ?? replicasPerCellMax, replicasPerCellMax);
  }

  get size(): number {
    return this.#members.reduce((count, member) => count + (member === undefined ? 0 : 1), 0);
  }

  get isFull(): boolean {
    return this.size >= this.#replicasMax;
  }

  get policy(): string {
    return this.#policy.name;
  }

  /** Of the prefix map; undefined while no member's cache is known. */
  get counts(): PrefixMapCounts | undefined {
    return this.#maps?.map.counts;
  }

  #mapsMade(): Maps {
    if (this.#maps !== undefined) return this.#maps;
    const secret = this.#secret;
    const predictions = new Predictions({ bytesMax: predictionsBytesDefault, secret });
    const map = new PrefixMap({ bytesMax: this.#mapBytes, secret, predictions });
    this.#maps = { map, predictions };
    return this.#maps;
  }

  #storeMade(): BlockStore {
    this.#store ??= {
      claim: () => this.#mapsMade().map.claim(),
      clear: (slot) => this.#maps?.map.clear(slot),
      show: (slot) => this.#maps?.map.show(slot),
      add: (digests, slot, tier) => {
        this.#maps?.map.add(digests, slot, tier);
        this.#counted(digests.length / 2, 0);
      },
      remove: (digests, slot, tier) => {
        this.#maps?.map.remove(digests, slot, tier);
        this.#counted(0, digests.length / 2);
      },
    };
    return this.#store;
  }

  /** For that many candidates at least. */
  #recordsFor(candidates: number): CandidateRecords {
    if (this.#records !== undefined && this.#records.size >= candidates) return this.#records;
    this.#records = new CandidateRecords(Math.min(replicasPerCellMax, 2 * candidates));
    return this.#records;
  }

  /** Live requests per replica: what a new request would find. */
  get meanLive(): number {
    let live = 0;
    for (const member of this.#members) live += member?.work.load.live ?? 0;
    return live / Math.max(1, this.size);
  }

  /** Decides by another policy from now on. */
  usePolicy(policy: Policy): void {
    this.#policy = policy;
    this.#score = undefined;
  }

  /** Lets a second policy decide beside the first, and counts where it differs; undefined ends that. */
  useShadow(policy: Policy | undefined): void {
    this.#shadow =
      policy === undefined ? undefined : { policy, score: policy.create(), decisions: 0, differences: 0 };
  }

  get shadow():
    | { readonly name: string; readonly decisions: number; readonly differences: number }
    | undefined {
    if (this.#shadow === undefined) return undefined;
    const { policy, decisions, differences } = this.#shadow;
    return { name: policy.name, decisions, differences };
  }

  /** Takes a replica in. Call only when the cell is not full. */
  join(work: ReplicaWork, ask: (member: Member) => number): Member {
    let number = 0;
    while (this.#members[number] !== undefined) number += 1;
    const newFeed = (of: Member): KvFeed =>
      new KvFeed({
        store: this.#storeMade(),
        turns: this.#turns,
        ask: () => ask(of),
        onCleared: () => of.beginAnew(),
      });
    const member = new Member(work, number, newFeed);
    this.#members[number] = member;
    return member;
  }

  /** Takes a replica out, and what was booked with it here off its load: nobody tells this cell how that ends. */
  leave(member: Member, nowMs: number): void {
    if (this.#members[member.number] !== member) return;
    this.#members[member.number] = undefined;
    member.close(nowMs);
    for (const [reservation, booked] of this.#booked ?? []) {
      if (booked.member !== member) continue;
      this.#booked?.delete(reservation);
      member.work.load.release(reservation);
    }
  }

  members(): readonly Member[] {
    return this.#members.filter((member) => member !== undefined);
  }

  trustOf(member: Member): Trust {
    return member.trust;
  }

  /** The replica that the policy prefers; undefined when none is eligible. */
  weigh(request: CellRequest): Choice | undefined {
    const members = this.#eligible(request);
    if (members.length === 0) return undefined;
    const depths = this.#match(members, request);
    const records = this.#recordsFor(members.length);
    const candidates = members.map((member, at) =>
      records.fill(at, this.#described(member, depths), request),
    );
    const { random } = request;
    const promptTokens = Math.max(1, request.promptTokens);
    const scene = { candidates, promptTokens, evictionShare: this.evictionShare, random };
    this.#score ??= this.#policy.create();
    const { costs, shadowCosts } = records;
    this.#score(scene, costs);
    const index = chooseLowest(costs, candidates.length, random);
    const member = members[index ?? -1];
    const candidate = candidates[index ?? -1];
    if (index === undefined || member === undefined || candidate === undefined) return undefined;
    this.#lookAside(scene, shadowCosts, index);
    const { held, expected } = reachOf(depths, member.slot);
    const expectedTokens = tokensIn(expected, request);
    const cost = costs[index] ?? 0;
    return { member, candidate, cost, heldBlocks: held, expectedTokens, candidates, costs };
  }

  /** Books a choice in the turn it was made. */
  book(reservation: Reservation, choice: Choice, { chain, promptTokens, nowMs }: CellRequest): void {
    const { member, candidate, expectedTokens, heldBlocks } = choice;
    member.work.load.book(reservation, {
      bookedAtMs: nowMs,
      contextTokens: promptTokens,
      uncachedTokens: promptTokens - expectedTokens,
      prefillMs: candidate.prefillMs,
      lateAfterMs: Math.max(candidate.prefillMs, this.#ratesOf(member).isLearned ? 0 : unlearnedLateMs),
      firstByteAtMs: undefined,
      decodingBeside: 0,
    });
    const { slot } = member;
    const toBlock = chain.length / 2;
    const prediction =
      slot === undefined || heldBlocks >= toBlock
        ? undefined
        : this.#maps?.predictions.add({
            ...{ chain, fromBlock: heldBlocks, toBlock, slot },
            ...{ nowMs, deadlineMs: nowMs + predictionMs(candidate) },
          });
    this.#booked ??= new Map();
    this.#booked.set(reservation, { member, prediction, expectedTokens, prefillMs: undefined });
  }

  /** The engine's first body byte of that request has come. */
  firstByte(reservation: Reservation, nowMs: number): void {
    const booked = this.#booked?.get(reservation);
    if (booked === undefined || booked.prefillMs !== undefined) return;
    const { work } = booked.member;
    booked.prefillMs = work.load.firstByte(reservation, nowMs);
    work.answered += 1;
  }

  /** The request is over, however it ended. Twice means nothing. */
  settle(reservation: Reservation, settlement: Settlement): void {
    const booked = this.#booked?.get(reservation);
    if (booked === undefined) return;
    this.#booked?.delete(reservation);
    const { member, prediction, prefillMs, expectedTokens } = booked;
    const live = member.work.load.release(reservation);
    if (live === undefined) return;
    if (prefillMs === undefined) {
      // It never began: nothing of it is in the cache.
      if (prediction !== undefined) this.#maps?.predictions.takeBack(prediction, settlement.nowMs);
      return;
    }
    const { cachedTokens, completionTokens, nowMs } = settlement;
    const contextTokens = settlement.promptTokens ?? live.contextTokens;
    if (cachedTokens !== undefined) member.truth.compare(expectedTokens, cachedTokens);
    const uncachedTokens = contextTokens - (cachedTokens ?? expectedTokens);
    const seen = { uncachedTokens, contextTokens, decoding: live.decodingBeside };
    this.#common ??= new Rates();
    const learners = [this.#ratesOf(member), this.#common];
    for (const rates of learners) rates.sawPrefill(seen, prefillMs);
    if (completionTokens === undefined || completionTokens < 2) return;
    const stepMs = (nowMs - (live.firstByteAtMs ?? nowMs)) / (completionTokens - 1);
    const batch = (live.decodingBeside + 1 + member.work.load.decoding + 1) / 2;
    for (const rates of learners) rates.sawSteps(batch, stepMs);
  }

  /** Blocks evicted for each one stored, lately: 0 while caches have room, near 1 when each block costs another. */
  get evictionShare(): number {
    return Math.min(1, this.#evictedBlocks / Math.max(1, this.#storedBlocks));
  }

  #counted(stored: number, evicted: number): void {
    this.#storedBlocks += stored;
    this.#evictedBlocks += evicted;
    if (this.#storedBlocks < countedBlocksMax) return;
    this.#storedBlocks /= 2;
    this.#evictedBlocks /= 2;
  }

  #ratesOf({ work }: Member): Rates {
    work.rates ??= new Rates(this.#common);
    return work.rates;
  }

  /** Those who may have it. New ones beyond their ramp are left out as long as there is anybody else. */
  #eligible({ isEligible }: CellRequest): readonly Member[] {
    const eligible: Member[] = [];
    let isAnySettled = false;
    for (const member of this.#members) {
      if (member === undefined || !isEligible(member)) continue;
      eligible.push(member);
      isAnySettled ||= member.isSettled;
    }
    return isAnySettled ? eligible.filter((member) => !member.isAtRampLimit) : eligible;
  }

  #match(members: readonly Member[], { chain, nowMs }: CellRequest): Depths | undefined {
    let eligibleLo = 0;
    let eligibleHi = 0;
    for (const { slot } of members) {
      if (slot === undefined) continue;
      if (slot < 32) eligibleLo |= 1 << slot;
      else eligibleHi |= 1 << slot;
    }
    const blocks = chain.length / 2;
    return this.#maps?.map.match({ chain, blocks, eligibleLo, eligibleHi, nowMs });
  }

  #described(member: Member, depths: Depths | undefined): DescribedReplica {
    const { work, number, slot, truth } = member;
    const { load, rttMs } = work;
    const rates = this.#ratesOf(member);
    return { number, load, rates, rttMs, claimShare: truth.share, reach: reachOf(depths, slot) };
  }

  #lookAside(scene: Scene, costs: Float64Array, chosen: number): void {
    const shadow = this.#shadow;
    if (shadow === undefined) return;
    shadow.score(scene, costs);
    const other = chooseLowest(costs, scene.candidates.length, scene.random);
    shadow.decisions += 1;
    // A tie is no difference of opinion.
    const isWorse = other !== undefined && (costs[chosen] ?? 0) > (costs[other] ?? 0);
    if (isWorse) shadow.differences += 1;
  }
}

const predictionMs = ({ waitMs, prefillMs }: Readonly<Candidate>): number =>
  predictionMsMin + predictionWaits * (waitMs + prefillMs);
