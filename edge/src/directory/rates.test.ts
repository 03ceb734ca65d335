/** What rates say before they saw anything, and after they watched an engine. */
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../testing/random.ts';
import { type PrefillWork, Rates, ReplicaRates } from './rates.ts';

/** An engine that is linear in what rates look at, with noise, and now and then ten times slower. */
const prefillMs = ({ uncachedTokens, contextTokens, decoding }: PrefillWork): number => {
  const thousands = uncachedTokens / 1000;
  return 10 + 100 * thousands + (1.5 * thousands * contextTokens) / 1000 + thousands * decoding;
};
const stepMs = (batch: number): number => 20 + 0.4 * batch;

const workFrom = (random: () => number): PrefillWork => {
  const contextTokens = 200 + Math.floor(random() * 30_000);
  const uncachedTokens = Math.floor(1 + random() * contextTokens);
  return { contextTokens, uncachedTokens, decoding: Math.floor(random() * 16) };
};

const watch = (
  rates: Rates | ReplicaRates,
  samples: number,
  { seed = 1, outlierShare = 0, speed = 1 } = {},
): void => {
  const random = seededRandom(seed);
  const noisy = (ms: number): number =>
    (ms / speed) * (0.9 + 0.2 * random()) * (random() < outlierShare ? 10 : 1);
  for (let seen = 0; seen < samples; seen += 1) {
    const work = workFrom(random);
    rates.sawPrefill(work, noisy(prefillMs(work)), 0);
    const batch = 1 + Math.floor(random() * 32);
    rates.sawSteps(batch, noisy(stepMs(batch)), 0);
  }
};

/** The mean error over fresh work, as a share of the true time. */
const errorsOf = (
  rates: Rates | ReplicaRates,
  speed = 1,
): { readonly prefill: number; readonly step: number } => {
  const random = seededRandom(99);
  let prefill = 0;
  let step = 0;
  const rounds = 200;
  for (let round = 0; round < rounds; round += 1) {
    const work = workFrom(random);
    const trueMs = prefillMs(work) / speed;
    prefill += Math.abs(rates.prefillMs(work, 0) - trueMs) / trueMs / rounds;
    const batch = 1 + Math.floor(random() * 32);
    step += (Math.abs(rates.stepMs(batch, 0) - stepMs(batch) / speed) * speed) / stepMs(batch) / rounds;
  }
  return { prefill, step };
};

describe('rates', () => {
  test('begin with the stated prior, and are learned after eight prefills', () => {
    const rates = new Rates();
    const work = { uncachedTokens: 2000, contextTokens: 8000, decoding: 4 };
    expect(rates.prefillMs(work)).toBe(20 + 2 * 150);
    expect(rates.stepMs(10)).toBe(20 + 10 * 0.5);
    expect(rates.isLearned).toBe(false);
    watch(rates, 7);
    expect(rates.isLearned).toBe(false);
    watch(rates, 1);
    expect([rates.isLearned, new ReplicaRates(rates).isLearned]).toEqual([true, true]);
  });

  test('come near an engine within some fifty requests, and nearer with more', () => {
    const rates = new Rates();
    watch(rates, 50);
    expect(errorsOf(rates).prefill).toBeLessThan(0.15);
    watch(rates, 450, { seed: 2 });
    expect(errorsOf(rates).prefill).toBeLessThan(0.05);
    expect(errorsOf(rates).step).toBeLessThan(0.05);
  });

  test('soon know an engine that is far from the prior', () => {
    for (const speed of [0.05, 5]) {
      const rates = new Rates();
      watch(rates, 12, { speed });
      expect(errorsOf(rates, speed).prefill).toBeLessThan(0.25);
    }
  });

  test('are not led astray when every tenth request takes ten times as long', () => {
    const rates = new Rates();
    watch(rates, 600, { outlierShare: 0.1 });
    const { prefill, step } = errorsOf(rates);
    expect(prefill).toBeLessThan(0.1);
    expect(step).toBeLessThan(0.1);
  });

  test('follow an engine that has become twice as slow', () => {
    const rates = new Rates();
    watch(rates, 500);
    watch(rates, 300, { seed: 2, speed: 0.5 });
    expect(errorsOf(rates, 0.5).prefill).toBeLessThan(0.25);
    watch(rates, 300, { seed: 3, speed: 0.5 });
    expect(errorsOf(rates, 0.5).prefill).toBeLessThan(0.1);
  });

  test('of one replica are those of all, at a pace of its own', () => {
    const common = new Rates();
    const all = [1, 1, 1, 0.5].map((speed) => ({ speed, rates: new ReplicaRates(common) }));
    for (let round = 0; round < 100; round += 1) {
      for (const [at, { speed, rates }] of all.entries()) watch(rates, 2, { seed: 10 * round + at, speed });
    }
    for (const { speed, rates } of all) expect(errorsOf(rates, speed).prefill).toBeLessThan(0.25);
    const heir = new ReplicaRates(common);
    expect(heir.stepMs(8, 0)).toBe(common.stepMs(8));
  });

  test('of one replica hardly move with its own outliers', () => {
    const common = new Rates();
    watch(common, 400);
    const rates = new ReplicaRates(common);
    const work = { uncachedTokens: 4000, contextTokens: 8000, decoding: 2 };
    const beforeMs = rates.prefillMs(work, 0);
    for (let seen = 0; seen < 32; seen += 1) rates.sawPrefill(work, prefillMs(work), 0);
    rates.sawPrefill(work, 1000 * prefillMs(work), 0);
    expect(rates.prefillMs(work, 0)).toBeLessThan(1.2 * beforeMs);
  });

  test('learn nothing from negative durations, and never predict any', () => {
    const rates = new Rates();
    rates.sawPrefill({ uncachedTokens: 100, contextTokens: 100, decoding: 0 }, -5);
    rates.sawSteps(1, -5);
    expect([rates.prefillMs({ uncachedTokens: 0, contextTokens: 0, decoding: 0 }), rates.stepMs(1)]).toEqual([
      20, 20.5,
    ]);
    for (let seen = 0; seen < 200; seen += 1) {
      rates.sawPrefill({ uncachedTokens: 100, contextTokens: 5000, decoding: seen % 7 }, 0);
      rates.sawSteps(seen % 9, 0);
    }
    expect(rates.prefillMs({ uncachedTokens: 1, contextTokens: 1e5, decoding: 0 })).toBeGreaterThanOrEqual(0);
    expect(rates.stepMs(0)).toBeGreaterThanOrEqual(0);
  });
});
