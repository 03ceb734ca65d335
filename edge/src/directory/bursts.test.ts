/**
 * How a burst of siblings is spread, and what that costs them: 32 prompts that share 3,008 tokens, over engines at rest
 * that take just the time the rates expect, one prefill after the other. Compared with the split that would have the
 * lowest mean time to the first token, found by trying; nobody could choose it, since it takes to know how many come.
 */
import { describe, expect, test } from 'vitest';
import { blockTokens, cellOf } from '../../testing/cells.ts';
import { randomWords } from '../../testing/digests.ts';
import type { Reservation } from './load.ts';

const siblings = 32;
const sharedBlocks = 47;
const tailTokens = 50;
const promptTokens = sharedBlocks * blockTokens + tailTokens;
const shared = randomWords(1, 2 * sharedBlocks);
const seeds = [1, 2, 3];

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length;
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** The prior of the rates, and that each request that decodes slows a prefill by a hundredth. Answers are long. */
class Engine {
  #isWarm: boolean;
  #freeAtMs = 0;
  readonly #firstBytesMs: number[] = [];

  constructor(isWarm: boolean) {
    this.#isWarm = isWarm;
  }

  /** Returns when the first byte comes. */
  serve(nowMs: number): number {
    const startMs = Math.max(nowMs, this.#freeAtMs);
    const decoding = this.#firstBytesMs.filter((ms) => ms <= startMs).length;
    const uncachedTokens = this.#isWarm ? tailTokens : promptTokens;
    this.#freeAtMs = startMs + (20 + 0.15 * uncachedTokens) * (1 + 0.01 * decoding);
    this.#isWarm = true;
    this.#firstBytesMs.push(this.#freeAtMs);
    return this.#freeAtMs;
  }
}

interface Burst {
  readonly replicas: number;
  /** Whether the first replica holds the shared part already. */
  readonly isWarm: boolean;
  readonly gapMs: number;
}

interface Spread {
  /** Siblings of each replica: of a holder first, then the most. */
  readonly shares: readonly number[];
  readonly meanTtftMs: number;
}

const enginesOf = ({ replicas, isWarm }: Burst): Engine[] =>
  range(replicas).map((number) => new Engine(isWarm && number === 0));

const sharesOf = (chosen: readonly number[], { replicas, isWarm }: Burst): number[] => {
  const counts = range(replicas).map((number) => chosen.filter((choice) => choice === number).length);
  const holders = isWarm ? counts.slice(0, 1) : [];
  return [...holders, ...counts.slice(holders.length).toSorted((left, right) => right - left)];
};

/** As a cell spreads it by the default policy. */
const spread = (burst: Burst, seed: number): Spread => {
  const { cell, members, hear, send } = cellOf(burst.replicas, { seed });
  const [first] = members;
  if (burst.isWarm && first !== undefined) hear(first, [{ tier: 'device', digests: shared }]);
  const engines = enginesOf(burst);
  const awaited = new Map<Reservation, number>();
  const ttftsMs: number[] = [];
  const chosen: number[] = [];
  for (const nowMs of range(siblings).map((index) => index * burst.gapMs)) {
    for (const [reservation, dueMs] of awaited) {
      if (dueMs <= nowMs) cell.firstByte(reservation, dueMs);
    }
    const sent = send({ chain: shared, promptTokens, nowMs });
    const number = sent?.choice.member.number ?? -1;
    const firstByteMs = engines[number]?.serve(nowMs) ?? Number.NaN;
    if (sent !== undefined) awaited.set(sent.reservation, firstByteMs);
    ttftsMs.push(firstByteMs - nowMs);
    chosen.push(number);
  }
  return { shares: sharesOf(chosen, burst), meanTtftMs: mean(ttftsMs) };
};

/** In turn to who is furthest from the share it shall have. */
const given = (shares: readonly number[], burst: Burst): Spread => {
  const engines = enginesOf(burst);
  const served = shares.map(() => 0);
  const ttftsMs = range(siblings).map((index) => {
    const behind = shares.map((share, number) => (share - (served[number] ?? 0)) / share);
    const number = behind.indexOf(Math.max(...behind));
    served[number] = (served[number] ?? 0) + 1;
    const nowMs = index * burst.gapMs;
    return (engines[number]?.serve(nowMs) ?? Number.NaN) - nowMs;
  });
  return { shares, meanTtftMs: mean(ttftsMs) };
};

/** The first gets any share, and any number of others the rest in equal parts. */
const best = (burst: Burst): Spread => {
  const splits = range(burst.replicas).flatMap((others) =>
    range(siblings - others).map((less) => {
      const rest = others === 0 ? 0 : others + less;
      const parts = range(others).map((part) => Math.floor((rest + part) / others));
      return [siblings - rest, ...parts];
    }),
  );
  const tried = splits.map((split) => given(split, burst));
  return tried.reduce((low, one) => (one.meanTtftMs < low.meanTtftMs ? one : low));
};

const bursts = [2, 4, 8].flatMap((replicas) =>
  [false, true].flatMap((isWarm) => [0, 5].map((gapMs) => ({ replicas, isWarm, gapMs }))),
);

/**
 * A second copy is made when it saves its siblings a quarter more than it takes, so a burst comes close to the best
 * split over two; a third and further ones would save less and less time for as much work each, and are left out
 * until most of a fleet is idle.
 */
describe.each(bursts)('32 siblings, $gapMs ms apart, over $replicas replicas, one warm: $isWarm', (burst) => {
  const spreads = seeds.map((seed) => spread(burst, seed));
  const bestOfTwo = best({ ...burst, replicas: 2 });

  test('no replica gets more than two beyond the best split over two', () => {
    for (const { shares } of spreads) {
      expect(sum(shares)).toBe(siblings);
      expect(Math.max(...shares)).toBeLessThanOrEqual(Math.max(...bestOfTwo.shares) + 2);
    }
  });

  test('their mean TTFT is within a tenth of that split, and well below that of a herd', () => {
    const herd = given([siblings], burst);
    for (const { meanTtftMs } of spreads) {
      expect(meanTtftMs).toBeLessThanOrEqual(1.1 * bestOfTwo.meanTtftMs);
      expect(meanTtftMs).toBeLessThanOrEqual(0.9 * herd.meanTtftMs);
    }
  });

  test('and within two fifths of the best split over any number, with at most half of a larger fleet', () => {
    const { meanTtftMs: leastMs } = best(burst);
    for (const { shares, meanTtftMs } of spreads) {
      expect(meanTtftMs).toBeLessThanOrEqual(1.4 * leastMs);
      expect(shares.filter((share) => share > 0).length).toBeLessThanOrEqual(Math.max(2, burst.replicas / 2));
    }
  });
});

test('two siblings alone never make two copies, however large the fleet', () => {
  for (const replicas of [2, 8, 64]) {
    const { send } = cellOf(replicas);
    const [first, second] = range(2).map(() => send({ chain: shared, promptTokens })?.choice.member);
    expect(second).toBe(first);
  }
});
