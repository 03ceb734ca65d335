/**
 * llm-d's weighted scorers, for comparison: the share of the prompt that is cached (weight 10), the queue against the
 * shortest and longest (weight 2), and how little waits to be computed (weight 2). Highest sum wins.
 */
import type { Candidate, Policy } from '../../../edge/src/policy/policy.ts';

const prefixWeight = 10;
const queueWeight = 2;
const loadWeight = 2;
/** Tokens in flight at which the token scorer gives nothing. */
const tokensMax = 4_194_304;

/** An engine counts the request that it prefills as running. */
const queuedAt = ({ live, decoding }: Candidate): number => Math.max(0, live - decoding - 1);

export const scorer: Policy = {
  name: 'scorer',
  followsCaches: true,
  create: () => (scene, costs) => {
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const candidate of scene.candidates) {
      most = Math.max(most, queuedAt(candidate));
      least = Math.min(least, queuedAt(candidate));
    }
    for (const [index, candidate] of scene.candidates.entries()) {
      const queue = most === least ? 1 : (most - queuedAt(candidate)) / (most - least);
      const load = 1 - Math.min(1, candidate.waitingTokens / tokensMax);
      const prefix = candidate.cachedTokens / scene.promptTokens;
      costs[index] = -(prefixWeight * prefix + queueWeight * queue + loadWeight * load);
    }
  },
};
