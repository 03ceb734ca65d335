/** What each policy prefers, and how ties are broken. */
import type { NodeId } from '@cognitora/protocol/ids';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../testing/random.ts';
import { leastLoaded } from './least-loaded.ts';
import { type Candidate, chooseLowest, type Policy, type Scene } from './policy.ts';
import { predictedLatency } from './predicted-latency.ts';
import { random } from './random.ts';
import { roundRobin } from './round-robin.ts';
import { weighted } from './weighted.ts';

const idle: Candidate = {
  number: 0,
  live: 0,
  decoding: 0,
  decodingTokens: 0,
  waitingTokens: 0,
  waitMs: 0,
  cachedTokens: 0,
  prefillMs: 100,
  fetch: undefined,
  stepMs: 20,
  rttMs: 0,
  evictionShare: 0,
  watts: undefined,
  isStale: false,
  isForeseen: true,
};

const sceneOf = (parts: readonly Partial<Candidate>[], evictionShare = 0): Scene => ({
  candidates: parts.map((part, number) => ({ ...idle, number, evictionShare, ...part })),
  promptTokens: 1000,
  random: () => 0.5,
});

const costsOf = (policy: Policy, scene: Scene): number[] => {
  const costs = new Float64Array(scene.candidates.length);
  policy.create()(scene, costs);
  return [...costs];
};

const preferred = (policy: Policy, parts: readonly Partial<Candidate>[], evictionShare = 0): number => {
  const costs = costsOf(policy, sceneOf(parts, evictionShare));
  return costs.indexOf(Math.min(...costs));
};

describe('the lowest cost', () => {
  test('is that of none among none', () => {
    expect(chooseLowest(new Float64Array(4), 0, () => 0)).toBeUndefined();
  });

  test('is drawn evenly from ties, wherever they stand', () => {
    const drawn = [0, 0, 0, 0, 0];
    const uniform = seededRandom(1);
    for (let round = 0; round < 9000; round += 1) {
      const chosen = chooseLowest(Float64Array.of(2, 1, 3, 1, 1), 5, uniform) ?? -1;
      drawn[chosen] = (drawn[chosen] ?? 0) + 1;
    }
    const [first, , third] = drawn;
    expect([first, third]).toEqual([0, 0]);
    for (const place of [1, 3, 4]) expect(Math.abs((drawn[place] ?? 0) - 3000)).toBeLessThan(250);
  });

  test('is never what is no number', () => {
    for (const number of [0, 0.5, 0.99]) {
      expect(chooseLowest(Float64Array.of(Number.NaN, 5, Number.NaN), 3, () => number)).toBe(1);
    }
  });

  test('is one of the candidates for every number below 1', () => {
    const costs = Float64Array.of(0, 0, 0, -1);
    for (const number of [0, 0.5, 1 - Number.EPSILON / 2]) {
      expect(chooseLowest(costs, 3, () => number)).toBeLessThan(3);
    }
  });
});

describe('predicted latency', () => {
  test('weighs a queue against the prefill that a cached prefix saves', () => {
    expect(preferred(predictedLatency, [{ waitMs: 50, prefillMs: 10 }, { prefillMs: 100 }])).toBe(0);
    expect(preferred(predictedLatency, [{ waitMs: 900, prefillMs: 10 }, { prefillMs: 100 }])).toBe(1);
  });

  test('keeps to the cache longer when caches are full, and when all have a queue', () => {
    const parts = [{ waitMs: 900, prefillMs: 10 }, { prefillMs: 100 }];
    expect(preferred(predictedLatency, parts)).toBe(1);
    // At rest a replica's evictions count once, else twelve times.
    expect(preferred(predictedLatency, parts, 1)).toBe(1);
    const busy = [
      { waitMs: 900, prefillMs: 10 },
      { waitMs: 1, prefillMs: 100 },
    ];
    expect([preferred(predictedLatency, busy), preferred(predictedLatency, busy, 1)]).toEqual([0, 0]);
    expect(preferred(predictedLatency, [{ waitMs: 190, prefillMs: 10 }, { prefillMs: 100 }], 1)).toBe(0);
    const queued = parts.map((part) => ({ ...part, waitMs: 20_000 + (part.waitMs ?? 0) }));
    expect(preferred(predictedLatency, queued)).toBe(0);
  });

  test('counts a queue at the holder as no sign that the others are busy', () => {
    const queued = { waitMs: 150, prefillMs: 10, cachedTokens: 900 };
    expect(preferred(predictedLatency, [queued, {}])).toBe(1);
    // Those that are busy beside it make the copy dearer: one of two by far, one of six by half.
    const busy = { waitMs: 500 };
    expect(preferred(predictedLatency, [queued, busy, {}])).toBe(0);
    expect(preferred(predictedLatency, [queued, busy, {}, {}, {}, {}, {}])).toBe(0);
    expect(preferred(predictedLatency, [{ ...queued, waitMs: 170 }, busy, {}, {}, {}, {}, {}])).toBe(2);
    // Of several holders only the one with the shortest queue is left out.
    expect(preferred(predictedLatency, [queued, { ...queued, waitMs: 500 }, {}])).toBe(0);
  });

  test('lets a cached prefix be computed again only where that saves a quarter more time than it takes', () => {
    const queued = { prefillMs: 10, cachedTokens: 900 };
    expect(preferred(predictedLatency, [{ ...queued, waitMs: 110 }, {}])).toBe(0);
    expect(preferred(predictedLatency, [{ ...queued, waitMs: 115 }, {}])).toBe(1);
  });

  test('avoids who is far away, and who would slow others down', () => {
    expect(preferred(predictedLatency, [{ rttMs: 30 }, {}])).toBe(1);
    expect(preferred(predictedLatency, [{ decoding: 8 }, {}])).toBe(1);
  });
});

describe('the others', () => {
  test('weighted prefers the prefix by .55, then idleness by .25', () => {
    const costs = costsOf(weighted, sceneOf([{ cachedTokens: 1000, live: 4 }, { live: 2 }, { live: 0 }]));
    const [cached = 0, half = 0, free = 0] = costs;
    expect(half - cached).toBeCloseTo(0.55 - 0.125);
    expect(half - free).toBeCloseTo(0.125);
  });

  test('weighted prefers low power and free capacity by .10 each', () => {
    const parts = [{ watts: 600, waitingTokens: 500 }, { watts: 0, waitingTokens: 500 }, { watts: 300 }];
    const [hungry = 0, sparing = 0, free = 0] = costsOf(weighted, sceneOf(parts));
    expect(hungry - sparing).toBeCloseTo(0.1);
    expect(hungry - free).toBeCloseTo(0.05 + 0.1);
  });

  test('weighted leaves power out as soon as it is not known of one', () => {
    const [hungry, sparing, unknown] = costsOf(weighted, sceneOf([{ watts: 600 }, { watts: 100 }, {}]));
    expect([hungry, unknown]).toEqual([sparing, sparing]);
  });

  test('least loaded looks at live requests only', () => {
    expect(
      preferred(leastLoaded, [
        { live: 3, cachedTokens: 900 },
        { live: 2, waitMs: 1e6 },
      ]),
    ).toBe(1);
  });

  test('random prefers nobody', () => {
    expect(new Set(costsOf(random, sceneOf([{ live: 9 }, { waitMs: 9 }, {}]))).size).toBe(1);
  });

  test('round robin takes all in turn, and passes over who is missing', () => {
    const score = roundRobin.create();
    const next = (numbers: readonly number[]): number => {
      const costs = new Float64Array(numbers.length);
      score(sceneOf(numbers.map((number) => ({ number }))), costs);
      return numbers[costs.indexOf(0)] ?? -1;
    };
    const all = [0, 1, 2, 3];
    expect([next(all), next(all), next([0, 1, 3]), next(all), next([1, 2])]).toEqual([0, 1, 3, 0, 1]);
  });
});

describe('what is fetched from another host', () => {
  /** 900 of 1,000 tokens come in 30 ms, in the place of 90 ms of prefill. */
  const fetch = { from: 'n' as NodeId, blocks: 15, ms: 30, tokens: 900, gain: 2 / 3 };
  const fetching = { prefillMs: 10, fetch };

  test('is dearer than the same in the cache and cheaper than all its prefill', () => {
    const [cached, fetched, neither] = [{ cachedTokens: 900, prefillMs: 10 }, fetching, {}];
    for (const policy of [predictedLatency, weighted]) {
      expect([preferred(policy, [neither, fetched]), preferred(policy, [fetched, cached])]).toEqual([1, 1]);
    }
  });

  test('counts in milliseconds as what it takes, and for the weighted policy by what it spares', () => {
    const [plain = 0, dearer = 0] = costsOf(predictedLatency, sceneOf([{ prefillMs: 10 }, fetching]));
    expect(dearer - plain).toBe(30);
    const [cached = 0, fetched = 0] = costsOf(weighted, sceneOf([{ cachedTokens: 600 }, fetching]));
    expect(fetched).toBeCloseTo(cached, 9);
  });

  test('is nothing to those who go by load alone', () => {
    for (const policy of [leastLoaded, roundRobin, random]) {
      const [one, other] = costsOf(policy, sceneOf([fetching, {}]));
      const [before, after] = costsOf(policy, sceneOf([{}, {}]));
      expect([one, other]).toEqual([before, after]);
    }
  });
});
