/** What every policy of the table keeps to, whatever the candidates are. */
import type { NodeId } from '@cognitora/protocol/ids';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../testing/random.ts';
import { type Candidate, chooseLowest, policies, policyOf, type Scene } from './policy.ts';

const share = fc.double({ min: 0, max: 1, noNaN: true });
const ms = fc.double({ min: 0, max: 1e7, noNaN: true });

const fetch = fc.record({
  from: fc.constant('n' as NodeId),
  blocks: fc.integer({ min: 1, max: 8_192 }),
  ms,
  tokens: fc.nat(131_072),
  gain: share,
});
const candidate = fc.record({
  live: fc.nat(300),
  decoding: fc.nat(300),
  decodingTokens: fc.nat(1e6),
  waitingTokens: fc.nat(1e6),
  waitMs: fc.oneof(fc.constant(0), ms),
  cachedShare: share,
  prefillMs: ms,
  fetch: fc.option(fetch, { nil: undefined }),
  stepMs: ms,
  rttMs: ms,
  evictionShare: share,
  watts: fc.option(fc.double({ min: 0, max: 100_000, noNaN: true }), { nil: undefined }),
  isStale: fc.constant(false),
  isForeseen: fc.constant(true),
});

const sceneOf = fc
  .record({
    candidates: fc.array(candidate, { minLength: 1, maxLength: 64 }),
    promptTokens: fc.integer({ min: 1, max: 131_072 }),
    seed: fc.nat(),
  })
  .map(({ candidates, promptTokens, seed }) => ({
    candidates: candidates.map(
      ({ cachedShare, ...rest }, number): Candidate => ({
        ...rest,
        number,
        cachedTokens: cachedShare * (promptTokens - 1),
      }),
    ),
    promptTokens,
    seed,
  }));

type Drawn = Omit<Scene, 'random'> & { readonly seed: number };

const sceneFrom = ({ seed, ...scene }: Drawn): Scene => ({ ...scene, random: seededRandom(seed) });

/** Costs and choices of a policy that decides about the scenes one after another. */
const decisions = (policy: (typeof policies)[number], drawn: readonly Drawn[]) => {
  const score = policy.create();
  return drawn.map((one) => {
    const scene = sceneFrom(one);
    const costs = new Float64Array(64).fill(Number.NaN);
    score(scene, costs);
    const { length } = scene.candidates;
    return { costs: costs.slice(0, length), chosen: chooseLowest(costs, length, scene.random) };
  });
};

describe.each(policies.map((policy) => ({ name: policy.name, policy })))('the policy $name', ({ policy }) => {
  test('gives each candidate a finite cost, and so chooses one of them', () => {
    fc.assert(
      fc.property(sceneOf, (drawn) => {
        const [first] = decisions(policy, [drawn]);
        expect(first?.costs.every(Number.isFinite)).toBe(true);
        expect(drawn.candidates[first?.chosen ?? -1]).toBeDefined();
      }),
    );
  });

  test('writes no cost beyond the candidates', () => {
    fc.assert(
      fc.property(sceneOf, (drawn) => {
        const costs = new Float64Array(65).fill(7);
        policy.create()(sceneFrom(drawn), costs);
        expect([...costs.subarray(drawn.candidates.length)].every((cost) => cost === 7)).toBe(true);
      }),
    );
  });

  test('decides the same of the same, given the same randomness', () => {
    fc.assert(
      fc.property(fc.array(sceneOf, { minLength: 1, maxLength: 4 }), (drawn) => {
        expect(decisions(policy, drawn)).toEqual(decisions(policy, drawn));
      }),
      { numRuns: 30 },
    );
  });

  test('leaves candidates as they are', () => {
    fc.assert(
      fc.property(sceneOf, (drawn) => {
        const frozen = { ...drawn, candidates: drawn.candidates.map((each) => Object.freeze({ ...each })) };
        decisions(policy, [frozen]);
        expect(frozen.candidates).toEqual(drawn.candidates);
      }),
      { numRuns: 30 },
    );
  });

  test('is found by its name', () => {
    expect(policyOf(policy.name)).toBe(policy);
  });
});

test('no other name finds a policy', () => {
  expect(policyOf('')).toBeUndefined();
  expect(new Set(policies.map(({ name }) => name)).size).toBe(policies.length);
});
