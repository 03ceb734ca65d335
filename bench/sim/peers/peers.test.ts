/** Other systems' rules on scenes made by hand. */
import { describe, expect, test } from 'vitest';
import { emptyCandidate } from '../../../edge/src/directory/candidates.ts';
import { type Candidate, chooseLowest, type Policy } from '../../../edge/src/policy/policy.ts';
import { cacheAware } from './cache-aware.ts';
import { kvCost } from './kv-cost.ts';
import { scorer } from './scorer.ts';

const candidateOf = (number: number, shape: Partial<Candidate>): Candidate => ({
  ...emptyCandidate(),
  ...shape,
  number,
});

/** Who is chosen for a prompt of 1,000 tokens, with ties to the first. */
const chosenBy = (policy: Policy, ...shapes: readonly Partial<Candidate>[]): number | undefined => {
  const candidates = shapes.map((shape, number) => candidateOf(number, shape));
  const costs = new Float64Array(candidates.length);
  policy.create()({ candidates, promptTokens: 1000, random: () => 0 }, costs);
  return chooseLowest(costs, candidates.length, () => 0);
};

describe('cache-aware', () => {
  test('goes where more than three tenths are cached', () => {
    expect(chosenBy(cacheAware, { live: 0 }, { live: 60, cachedTokens: 301 })).toBe(1);
  });

  test('goes by load when less is', () => {
    expect(chosenBy(cacheAware, { live: 1 }, { live: 2, cachedTokens: 299 })).toBe(0);
  });

  test('goes by load when queues differ by more than 64 and half as much again', () => {
    expect(chosenBy(cacheAware, { live: 0 }, { live: 65, cachedTokens: 999 })).toBe(0);
    expect(chosenBy(cacheAware, { live: 200 }, { live: 265, cachedTokens: 999 })).toBe(1);
  });
});

describe('kv-cost', () => {
  test('adds the prefill that waits and the context that decodes, less what is cached', () => {
    expect(chosenBy(kvCost, { waitingTokens: 500 }, { decodingTokens: 400 })).toBe(1);
    expect(chosenBy(kvCost, { waitingTokens: 500, cachedTokens: 200 }, { decodingTokens: 400 })).toBe(0);
  });

  test('never gives credit for more than there is to prefill', () => {
    expect(chosenBy(kvCost, { decodingTokens: 1 }, { cachedTokens: 1000 })).toBe(1);
  });
});

describe('scorer', () => {
  test('weighs the cached share five times as much as the queue', () => {
    expect(chosenBy(scorer, { live: 1 }, { live: 9, cachedTokens: 210 })).toBe(1);
    expect(chosenBy(scorer, { live: 1 }, { live: 9, cachedTokens: 190 })).toBe(0);
  });

  test('counts as queued neither those who decode nor the one in prefill', () => {
    expect(chosenBy(scorer, { live: 2 }, { live: 9, decoding: 8 })).toBe(1);
  });

  test('takes tokens that wait into account', () => {
    expect(chosenBy(scorer, { waitingTokens: 2_000_000 }, { waitingTokens: 1000 })).toBe(1);
  });
});
