/**
 * At most 64 replicas of one model, and what decides between them: one prefix map, predictions, learned rates, one
 * policy. Pure: time, eligibility and randomness come in with each call. Owns the turn of a decision, in which the
 * request is booked and its prefix predicted, so that the siblings of a burst see both. Knows no nodes and no links.
 */
import type { ErrorCode } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';
import { type Candidate, chooseLowest, defaultPolicy, type Policy, type Score } from '../policy/policy.ts';
import { CandidateRecords, type DescribedReplica, reachOf, tokensIn } from './candidates.ts';
import { CellMaps } from './cell-maps.ts';
import type { Verdict } from './failures.ts';
import { KvFeed } from './kv-feed.ts';
import { giversOf, suggestFetch } from './kv-fetch.ts';
import type { Reservation } from './load.ts';
import type { MapBudget } from './map-budget.ts';
import { Member, type ReplicaWork } from './member.ts';
import type { Prediction } from './predictions.ts';
import { type Depths, type PrefixMapCounts, prefixMapBytesDefault } from './prefix-map.ts';
import { Rates, ReplicaRates } from './rates.ts';
import { replicasPerCellMax } from './replica-slots.ts';
import { Shadow, type ShadowView } from './shadow.ts';
import type { SnapshotTurns } from './snapshot-turns.ts';
import { Truth } from './truth.ts';

export interface CellRequest {
  /** Digests of the prompt from its start, as pairs of low and high word. */
  readonly chain: Uint32Array;
  readonly promptTokens: number;
  /** Tokens that one digest stands for. */
  readonly blockTokens: number;
  /** Of an answer in one piece nobody sees when its first token comes: it is never late. */
  readonly isStream: boolean;
  readonly nowMs: number;
  readonly isEligible: (member: Member) => boolean;
  /** Of the nodes whose KV may be fetched. */
  readonly isLeased: (node: NodeId) => boolean;
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
  /**
   * Tokens that need no prefill, as its cost counts them: those in its cache, by tier and by how true its claims were,
   * and those that it had better fetch.
   */
  readonly expectedTokens: number;
  /** All that could have been chosen, with their costs, for the receipt. */
  readonly candidates: readonly Readonly<Candidate>[];
  readonly costs: Float64Array;
  /** Replicas that were left out since their agents fell silent about their load. */
  readonly stale: number;
}

interface Booked {
  readonly member: Member;
  readonly prediction: Prediction | undefined;
  readonly expectedTokens: number;
  /** Of those, what the replica itself claimed: a guess of ours that fails is no lie of its. */
  readonly claimedTokens: number;
  /** It was to fetch first: whether it did nobody says, so its time teaches nothing of prefills. */
  readonly isFetching: boolean;
  prefillMs: number | undefined;
}

/** What is known when a request is over. */
export interface Settlement {
  readonly nowMs: number;
  readonly verdict?: Verdict | undefined;
  readonly promptTokens?: number | undefined;
  readonly cachedTokens?: number | undefined;
  readonly completionTokens?: number | undefined;
  /** Of its answer, as far as it came. */
  readonly bodyBytes?: number | undefined;
  /** Why it ended before its end. */
  readonly code?: ErrorCode | undefined;
}

export interface CellOptions {
  /** Any 32-bit number that peers do not know. */
  readonly secret: number;
  readonly turns: SnapshotTurns;
  readonly mapBytes?: number;
  /** Whose memory the map takes; without one it takes its own. */
  readonly budget?: MapBudget;
  readonly replicasMax?: number;
  /** What the replicas of all cells of the model have taught, made when first asked for. */
  readonly rates?: () => Rates;
}

/** Before rates are learned the prior may be far off: only what no engine needs for a prompt counts as late. */
const unlearnedLateMs = 15_000;
/** A guess that nobody confirmed ends: after this, and twice the time in which its prefill was expected to be done. */
const predictionMsMin = 60_000;
const predictionWaits = 2;
/** So long after a request ended its agent has told what the engine kept of it: a guess beyond would contradict. */
const tellMsMax = 1_000;

export class Cell {
  readonly #maps: CellMaps;
  readonly #sharedRates: (() => Rates) | undefined;
  readonly #turns: SnapshotTurns;
  readonly #replicasMax: number;
  readonly #members: (Member | undefined)[] = [];
  #size = 0;
  /** Made, like all that follows it here, when first used: a region may hear of thousands of models nobody asks for. */
  #booked: Map<Reservation, Booked> | undefined;
  /** Learned from all members. */
  #common: Rates | undefined;
  #records: CandidateRecords | undefined;
  #policy: Policy = defaultPolicy;
  #score: Score | undefined;
  #shadow: Shadow | undefined;

  constructor(options: CellOptions) {
    const { secret, turns, mapBytes = prefixMapBytesDefault, budget, replicasMax, rates } = options;
    this.#sharedRates = rates;
    this.#maps = new CellMaps({ secret, mapBytes, budget, members: this.#members });
    this.#turns = turns;
    this.#replicasMax = Math.min(replicasMax ?? replicasPerCellMax, replicasPerCellMax);
  }

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.size >= this.#replicasMax;
  }

  get policy(): string {
    return this.#policy.name;
  }

  /** Of the prefix map; undefined while no member's cache is known. */
  get counts(): PrefixMapCounts | undefined {
    return this.#maps.counts;
  }

  /** Nobody sits here any more: gives its memory back. */
  close(): void {
    this.#maps.close();
  }

  /**
   * Somebody asks for the model: it gets the room that models nobody asks for have. True: its map is another one, and
   * its members' feeds have to be opened anew.
   */
  asked(nowMs: number): boolean {
    return this.#maps.asked(nowMs);
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
    this.#shadow = policy && new Shadow(policy);
  }

  get shadow(): ShadowView | undefined {
    return this.#shadow?.view;
  }

  /** Takes a replica in. Call only when the cell is not full. */
  join(work: ReplicaWork, ask: (member: Member) => number, truth = new Truth()): Member {
    let number = 0;
    while (this.#members[number] !== undefined) number += 1;
    const newFeed = (of: Member): KvFeed =>
      new KvFeed({
        store: this.#maps.storeOf(of),
        turns: this.#turns,
        node: work.node,
        ask: () => ask(of),
        onCleared: () => {
          of.beginAnew();
          of.ramp(this.#isAnySettled);
        },
      });
    const member = new Member(work, number, truth, newFeed);
    member.ramp(this.#isAnySettled);
    this.#members[number] = member;
    this.#size += 1;
    return member;
  }

  /** Takes a replica out. What it was booked for is settled here all the same: it still works on that. */
  leave(member: Member, nowMs: number): void {
    if (this.#members[member.number] !== member) return;
    this.#members[member.number] = undefined;
    this.#size -= 1;
    member.close(nowMs);
  }

  get #isAnySettled(): boolean {
    return this.#members.some((member) => member?.isSettled);
  }

  memberAt(number: number): Member | undefined {
    return this.#members[number];
  }

  /** Blocks that the map holds of a replica, on any tier. */
  heldBlocks(member: Member): number {
    return this.#maps.heldBlocks(member);
  }

  /** Those of them that its host keeps. */
  hostBlocks(member: Member): number {
    return this.#maps.hostBlocks(member);
  }

  /** The replica that the policy prefers; undefined when none is eligible. */
  weigh(request: CellRequest): Choice | undefined {
    const eligible = this.#eligible(request);
    if (eligible.length === 0) return undefined;
    const heard = eligible.filter(({ work }) => !work.figures.isStale(request.nowMs));
    // Who fell silent counts as full: it is asked when all have.
    const members = heard.length === 0 ? eligible : heard;
    this.#maps.forgetFaded(request.nowMs);
    const depths = this.#match(members, request);
    const records = this.#recordsFor(members.length);
    const { chain, isLeased, random } = request;
    const givers =
      this.#policy.followsCaches === true
        ? giversOf({ members: this.#members, maps: this.#maps, chain, isLeased })
        : [];
    const candidates = members.map((member, at) => {
      const candidate = records.fill(at, this.#described(member, depths), request);
      if (givers.length > 0) suggestFetch(candidate, member, givers, request);
      return candidate;
    });
    const promptTokens = Math.max(1, request.promptTokens);
    const scene = { candidates, promptTokens, random };
    this.#score ??= this.#policy.create();
    const { costs } = records;
    this.#score(scene, costs);
    const index = chooseLowest(costs, candidates.length, random);
    const member = members[index ?? -1];
    const candidate = candidates[index ?? -1];
    if (index === undefined || member === undefined || candidate === undefined) return undefined;
    const { held } = reachOf(depths, member.slot);
    const expectedTokens = candidate.cachedTokens + (candidate.fetch?.tokens ?? 0);
    const cost = costs[index] ?? 0;
    const stale = eligible.length - members.length;
    return { member, candidate, cost, heldBlocks: held, expectedTokens, candidates, costs, stale };
  }

  /** Books a choice in the turn it was made. */
  book(reservation: Reservation, choice: Choice, request: CellRequest): void {
    const { chain, promptTokens, nowMs, isStream } = request;
    const { member, candidate, expectedTokens, heldBlocks } = choice;
    this.#lookAside(choice, request);
    member.work.load.book(reservation, {
      bookedAtMs: nowMs,
      contextTokens: promptTokens,
      uncachedTokens: promptTokens - expectedTokens,
      prefillMs: aheadMs(candidate),
      lateAfterMs: isStream ? this.#lateAfterMs(member, candidate) : Number.POSITIVE_INFINITY,
      firstByteAtMs: undefined,
      decodingBeside: 0,
    });
    member.work.failures.booked(reservation);
    const { slot } = member;
    const toBlock = chain.length / 2;
    const prediction =
      slot === undefined || heldBlocks >= toBlock
        ? undefined
        : this.#maps.expect({
            ...{ chain, fromBlock: heldBlocks, toBlock, slot },
            ...{ nowMs, deadlineMs: nowMs + predictionMs(candidate) },
          });
    this.#booked ??= new Map();
    const claimedTokens = tokensIn(heldBlocks, request);
    const isFetching = candidate.fetch !== undefined;
    const booked = { member, prediction, expectedTokens, claimedTokens, isFetching, prefillMs: undefined };
    this.#booked.set(reservation, booked);
  }

  /** The engine's first body byte of that request has come. */
  firstByte(reservation: Reservation, nowMs: number): void {
    const booked = this.#booked?.get(reservation);
    if (booked === undefined || booked.prefillMs !== undefined) return;
    const { work } = booked.member;
    booked.prefillMs = work.load.firstByte(reservation, nowMs);
    work.requestSeats.saw(work.load.begunBy(reservation));
    work.answered += 1;
    work.failures.tried(reservation);
  }

  /** The request is over, however it ended. Twice means nothing. */
  settle(reservation: Reservation, settlement: Settlement): void {
    const booked = this.#booked?.get(reservation);
    if (booked === undefined) return;
    this.#booked?.delete(reservation);
    const { member, prediction, prefillMs, expectedTokens, claimedTokens, isFetching } = booked;
    // Of a stream its first byte has told so.
    const begun = prefillMs === undefined ? member.work.load.begunBy(reservation) : 0;
    const live = member.work.load.release(reservation);
    if (live === undefined) return;
    const { cachedTokens, completionTokens, nowMs } = settlement;
    member.work.failures.tried(reservation);
    member.work.failures.ended(settlement.verdict, nowMs);
    const isWhole = settlement.promptTokens !== undefined || settlement.verdict === 'worked';
    if (prefillMs === undefined && !isWhole) {
      // It never began: nothing of it is in the cache.
      if (prediction !== undefined) this.#maps.takeBack(prediction);
      return;
    }
    if (prediction !== undefined) this.#maps.fade(prediction, nowMs + tellMsMax);
    const contextTokens = likelyTokens(settlement.promptTokens, live.contextTokens);
    // In tokens as the engine counts them for this prompt: what others taught of its length is no fault of the replica.
    const scale = contextTokens / Math.max(1, live.contextTokens);
    if (cachedTokens !== undefined) member.truth.compare(claimedTokens * scale, cachedTokens);
    // An answer in one piece does not tell when its first token came.
    if (prefillMs === undefined) {
      member.work.requestSeats.saw(begun);
      member.work.answered += 1;
      return;
    }
    const uncachedTokens = Math.max(0, contextTokens - (cachedTokens ?? expectedTokens * scale));
    const seen = { uncachedTokens, contextTokens, decoding: live.decodingBeside };
    const rates = this.#ratesOf(member);
    if (!isFetching) rates.sawPrefill(seen, prefillMs, nowMs);
    if (completionTokens === undefined || completionTokens < 2) return;
    const stepMs = (nowMs - (live.firstByteAtMs ?? nowMs)) / (completionTokens - 1);
    const batch = (live.decodingBeside + 1 + member.work.load.decoding + 1) / 2;
    rates.sawSteps(batch, stepMs, nowMs);
  }

  #ratesOf({ work }: Member): ReplicaRates {
    this.#common ??= this.#sharedRates?.() ?? new Rates();
    work.rates ??= new ReplicaRates(this.#common);
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
    return this.#maps.match({ chain, blocks, eligibleLo, eligibleHi, nowMs });
  }

  #described(member: Member, depths: Depths | undefined): DescribedReplica {
    const { work, number, slot, truth } = member;
    const { load, figures, rttMs } = work;
    const rates = this.#ratesOf(member);
    const { evictionShare } = member;
    return {
      number,
      load,
      figures,
      rates,
      rttMs,
      evictionShare,
      claimShare: truth.share,
      reach: reachOf(depths, slot),
    };
  }

  /** In the cell that was chosen, while the candidates of that choice still stand. */
  #lookAside({ candidates, candidate }: Choice, { promptTokens, random }: CellRequest): void {
    if (this.#shadow === undefined) return;
    const { shadowCosts } = this.#recordsFor(candidates.length);
    const scene = { candidates, promptTokens: Math.max(1, promptTokens), random };
    this.#shadow.look(scene, candidate, shadowCosts);
  }

  #lateAfterMs(member: Member, candidate: Readonly<Candidate>): number {
    return Math.max(aheadMs(candidate), this.#ratesOf(member).isLearned ? 0 : unlearnedLateMs);
  }
}

/** An engine's count of a prompt, unless it is beyond all reason. */
const likelyTokens = (counted: number | undefined, estimated: number): number =>
  counted === undefined || counted > 16 * estimated + 4_096 ? estimated : counted;

/** From when it is its turn until its first token. */
const aheadMs = ({ fetch, prefillMs }: Readonly<Candidate>): number => (fetch?.ms ?? 0) + prefillMs;

const predictionMs = (candidate: Readonly<Candidate>): number =>
  predictionMsMin + predictionWaits * (candidate.waitMs + aheadMs(candidate));
