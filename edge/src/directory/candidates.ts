/**
 * The records in which policies see replicas: how a member's load, learned rates and matched blocks become one
 * candidate. The records are filled anew with each decision, so that a decision among 64 makes no garbage of them.
 * Decides nothing.
 */
import type { Candidate } from '../policy/policy.ts';
import type { LoadFigures } from './figures.ts';
import type { ReplicaLoad } from './load.ts';
import type { Depths } from './prefix-map.ts';
import type { ReplicaRates } from './rates.ts';
import type { Slot } from './replica-slots.ts';

/** What a block off the device is worth of one on it: it has to be loaded first. */
const hostCredit = 0.75;

/** Nodes whose way here differs by less are equally near: a busy moment moves a ping by as much. */
const rttStepMs = 20;

/** How many blocks from the prompt's start a replica has: on the device, on any tier, there or predicted. */
export interface Reach {
  readonly device: number;
  readonly held: number;
  readonly expected: number;
}

const noReach: Reach = { device: 0, held: 0, expected: 0 };

/** Nothing for who has no slot, or when nothing is known. */
export const reachOf = (depths: Depths | undefined, slot: Slot | undefined): Reach =>
  depths === undefined || slot === undefined
    ? noReach
    : {
        device: depths.device[slot] ?? 0,
        held: depths.held[slot] ?? 0,
        expected: depths.expected[slot] ?? 0,
      };

export interface DescribedReplica {
  readonly number: number;
  readonly load: ReplicaLoad;
  readonly figures: LoadFigures;
  readonly rates: ReplicaRates;
  readonly rttMs: number;
  readonly evictionShare: number;
  /** What share of its claims to believe, 0 to 1. */
  readonly claimShare: number;
  readonly reach: Reach;
}

interface DescribedPrompt {
  readonly promptTokens: number;
  readonly blockTokens: number;
  readonly nowMs: number;
}

/** Tokens of a prompt in so many of its blocks; the last token is always computed. */
export const tokensIn = (blocks: number, { promptTokens, blockTokens }: DescribedPrompt): number =>
  Math.max(0, Math.min(blocks * blockTokens, promptTokens - 1));

export class CandidateRecords {
  readonly size: number;
  readonly costs: Float64Array;
  readonly shadowCosts: Float64Array;
  readonly #records: readonly Candidate[];

  constructor(size: number) {
    this.size = size;
    this.costs = new Float64Array(size);
    this.shadowCosts = new Float64Array(size);
    this.#records = Array.from({ length: size }, emptyCandidate);
  }

  /** The record at `at`, below the size, filled with this replica. */
  fill(at: number, replica: DescribedReplica, prompt: DescribedPrompt): Candidate {
    const { number, load, figures, rates, rttMs, evictionShare, claimShare, reach } = replica;
    const { promptTokens, nowMs } = prompt;
    const { device, held, expected } = reach;
    const credited = device + hostCredit * (held - device) + (expected - held);
    const candidate = this.#records[at];
    if (candidate === undefined) throw new RangeError(`record ${at} of ${this.size}`);
    candidate.cachedTokens = tokensIn(credited * claimShare, prompt);
    candidate.number = number;
    const { othersRunning } = figures;
    const othersWaiting = figures.othersWaiting(nowMs);
    candidate.live = load.live + othersRunning + othersWaiting;
    candidate.decoding = load.decoding + othersRunning;
    candidate.decodingTokens = load.decodingTokens;
    // Of a stranger in its queue nothing is known but that it goes first: it is taken to be as long as this prompt.
    candidate.waitingTokens = load.waitingTokens + othersWaiting * promptTokens;
    const context = { contextTokens: promptTokens, decoding: candidate.decoding };
    const strangerMs =
      othersWaiting === 0 ? 0 : rates.prefillMs({ uncachedTokens: promptTokens, ...context }, nowMs);
    candidate.waitMs = load.waitMs(nowMs) + othersWaiting * strangerMs;
    const uncachedTokens = promptTokens - candidate.cachedTokens;
    candidate.isForeseen = rates.foresees(uncachedTokens);
    candidate.prefillMs = rates.prefillMs({ uncachedTokens, ...context }, nowMs);
    candidate.fetch = undefined;
    candidate.stepMs = rates.stepMs(candidate.decoding + 1, nowMs);
    candidate.rttMs = Math.floor(rttMs / rttStepMs) * rttStepMs;
    candidate.evictionShare = evictionShare;
    candidate.watts = figures.watts(nowMs);
    candidate.isStale = figures.isStale(nowMs);
    return candidate;
  }
}

/** One of whom nothing is known and who has nothing to do. */
export const emptyCandidate = (): Candidate => ({
  number: 0,
  live: 0,
  decoding: 0,
  decodingTokens: 0,
  waitingTokens: 0,
  waitMs: 0,
  cachedTokens: 0,
  isForeseen: false,
  prefillMs: 0,
  fetch: undefined,
  stepMs: 0,
  rttMs: 0,
  evictionShare: 0,
  watts: undefined,
  isStale: false,
});
