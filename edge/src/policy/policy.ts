/**
 * What a policy is, and the table of them. A policy gives each candidate a cost, lower is better; it neither filters
 * nor books. Candidates have passed the one eligibility filter before a policy sees them.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import { leastLoaded } from './least-loaded.ts';
import { predictedLatency } from './predicted-latency.ts';
import { random } from './random.ts';
import { roundRobin } from './round-robin.ts';
import { weighted } from './weighted.ts';

/** The beginning of a prompt that comes from another host in the place of its prefill. */
export interface PromptFetch {
  readonly from: NodeId;
  /** Of the prompt, from its first. */
  readonly blocks: number;
  readonly ms: number;
  /** That it brings beyond the cached ones. */
  readonly tokens: number;
  /** What share of their prefill's time is spared, 0 to 1. */
  readonly gain: number;
}

/** One replica that could serve the request, in the terms that costs are made of. Filled anew for each decision. */
export interface Candidate {
  /** Its number in the cell: stays with the replica while it lives. */
  number: number;
  /** Live requests, those of others in its engine included, as far as its agent tells of them. */
  live: number;
  /** Those past their first byte, and their context tokens. */
  decoding: number;
  decodingTokens: number;
  /** Uncached prompt tokens of requests that wait for their first byte. */
  waitingTokens: number;
  /** Until a prefill booked now would begin. */
  waitMs: number;
  /** Of this request's prompt: tokens expected in the cache, weighed by tier and by how true its claims were. */
  cachedTokens: number;
  /** What is said of its prefill rests on prompts about as long. */
  isForeseen: boolean;
  /** This request's prefill there, of what is neither cached nor fetched. */
  prefillMs: number;
  /** Where to fetch the prompt's beginning from another host first takes less time than its prefill. */
  fetch: PromptFetch | undefined;
  /** One token of each request, with this one. */
  stepMs: number;
  rttMs: number;
  /** Blocks that its cache evicts for each one it stores, 0 to 1. */
  evictionShare: number;
  /** What its GPUs draw; undefined where nobody measures. */
  watts: number | undefined;
  /** Its agent told of its engine's requests once, and fell silent: they are guesses. */
  isStale: boolean;
}

export interface Scene {
  readonly candidates: readonly Candidate[];
  readonly promptTokens: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Writes each candidate's cost at its index. */
export type Score = (scene: Scene, costs: Float64Array) => void;

export interface Policy {
  readonly name: string;
  /** Costs depend on what is cached: a prompt has a cell that it belongs to. */
  readonly followsCaches?: true;
  /** A policy with a memory has one per cell. */
  create(): Score;
}

export const policies = [predictedLatency, weighted, leastLoaded, roundRobin, random] as const;

export const defaultPolicy: Policy = predictedLatency;

export const policyOf = (name: string): Policy | undefined => policies.find((policy) => policy.name === name);

/** The index of the lowest cost, ties broken at random; undefined when there are no candidates. */
export const chooseLowest = (
  costs: Float64Array,
  count: number,
  uniform: () => number,
): number | undefined => {
  let lowest = Number.POSITIVE_INFINITY;
  let chosen: number | undefined;
  let ties = 0;
  for (let index = 0; index < count; index += 1) {
    const cost = costs[index] ?? Number.POSITIVE_INFINITY;
    // Written so that what is no number loses.
    if (!(cost <= lowest)) continue;
    ties = cost < lowest ? 1 : ties + 1;
    lowest = cost;
    // The n-th of n ties is taken with probability 1/n.
    if (ties === 1 || uniform() * ties >= ties - 1) chosen = index;
  }
  return chosen;
};
