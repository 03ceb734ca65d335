/** One engine by hand: what a prefill, a decode step, a full cache and an hour of idling come to. */
import { describe, expect, test } from 'vitest';
import { EngineModel, type Job } from './engine-model.ts';

interface Told {
  readonly what: 'first' | 'done' | 'stored';
  readonly id?: number;
  readonly atMs: number;
  readonly cachedTokens?: number;
  readonly added?: readonly number[];
  readonly removed?: readonly number[];
}

const engineOf = (capacityBlocks = 100) => {
  const told: Told[] = [];
  const engine = new EngineModel({
    capacityBlocks,
    blockTokens: 512,
    events: {
      firstToken: ({ id }, atMs, cachedTokens) => told.push({ what: 'first', id, atMs, cachedTokens }),
      done: ({ id }, atMs) => told.push({ what: 'done', id, atMs }),
      stored: (added, removed, atMs) => told.push({ what: 'stored', added, removed, atMs }),
    },
  });
  const firsts = (): readonly Told[] => told.filter(({ what }) => what === 'first');
  const dones = (): readonly Told[] => told.filter(({ what }) => what === 'done');
  return { engine, told, firsts, dones };
};

const jobOf = (
  id: number,
  blocks: readonly number[],
  outputTokens = 1,
  inputTokens = blocks.length * 512,
): Job => ({
  id,
  blocks,
  outputTokens,
  inputTokens,
});

/** 10 ms, and 1 ms per 10 tokens, the more the longer the context. */
const prefillOf = (uncached: number, context: number): number =>
  10 + (uncached / 10) * (1 + context / 65_536);

describe('prefill', () => {
  test('of 65,536 tokens costs twice that of as many in short prompts, and 10 ms', () => {
    const { engine, firsts } = engineOf();
    engine.submit(jobOf(1, [], 1, 65_536), 0);
    engine.advance(1e6);
    expect(firsts()[0]?.atMs).toBeCloseTo(10 + 2 * 6553.6, 6);
  });

  test('goes one after another', () => {
    const { engine, firsts } = engineOf();
    engine.submit(jobOf(1, [1]), 0);
    engine.submit(jobOf(2, [2]), 0);
    engine.advance(1e6);
    expect(firsts().map(({ atMs }) => atMs)).toEqual([prefillOf(512, 512), 2 * prefillOf(512, 512)]);
  });

  test('takes only what is not cached, and a token of a prompt that is', () => {
    const { engine, firsts } = engineOf();
    engine.submit(jobOf(1, [1, 2]), 0);
    engine.submit(jobOf(2, [1, 2, 3]), 0);
    engine.submit(jobOf(3, [1, 2, 3]), 0);
    engine.submit(jobOf(4, [9, 2, 3]), 0);
    engine.advance(1e6);
    expect(firsts().map(({ cachedTokens }) => cachedTokens)).toEqual([0, 1024, 1535, 0]);
    expect(firsts()[1]?.atMs).toBeCloseTo(prefillOf(1024, 1024) + prefillOf(512, 1536), 9);
  });

  test('is slowed by a hundredth for each that decodes', () => {
    const { engine, firsts } = engineOf();
    engine.submit(jobOf(1, [1], 1000), 0);
    engine.advance(100);
    engine.submit(jobOf(2, [2]), 100);
    engine.advance(1e6);
    expect(firsts()[1]?.atMs).toBeCloseTo(100 + 10 + 1.01 * (prefillOf(512, 512) - 10), 9);
  });
});

describe('decoding', () => {
  test('alone takes 20.4 ms a token after the first', () => {
    const { engine, dones } = engineOf();
    engine.submit(jobOf(1, [1], 11), 0);
    engine.advance(1e6);
    expect(dones()[0]?.atMs).toBeCloseTo(prefillOf(512, 512) + 10 * 20.4, 6);
    expect(engine.tokensByBatch[1]).toBeCloseTo(10, 6);
  });

  test('of two takes 20.8 ms for a token of each while both last', () => {
    const { engine, dones } = engineOf();
    // Both without a prompt to speak of: their prefills take 10.1 ms each, so the first is half a token ahead.
    engine.submit(jobOf(1, [], 101, 1), 0);
    engine.submit(jobOf(2, [], 11, 1), 0);
    engine.advance(1e6);
    const [short, long] = dones();
    const secondFirst = engine.tokensByBatch[2] ?? 0;
    expect([short?.id, long?.id]).toEqual([2, 1]);
    expect(secondFirst).toBeCloseTo(20, 6);
    expect((engine.tokensByBatch[1] ?? 0) + secondFirst / 2).toBeCloseTo(100, 6);
  });
});

describe('the cache', () => {
  test('drops what was not used for longest, and tells', () => {
    const { engine, told } = engineOf(3);
    engine.submit(jobOf(1, [1]), 0);
    engine.submit(jobOf(2, [2, 3]), 0);
    engine.submit(jobOf(3, [1]), 0);
    engine.submit(jobOf(4, [4]), 0);
    engine.advance(1e6);
    const stored = told.filter(({ what }) => what === 'stored');
    expect(stored.map(({ added, removed }) => ({ added, removed }))).toEqual([
      { added: [1], removed: [] },
      { added: [2, 3], removed: [] },
      { added: [4], removed: [2] },
    ]);
  });
});

describe('watts', () => {
  test('are 110 idle, 650 in prefill, and between 110 and 420 by how many decode', () => {
    const { engine } = engineOf();
    engine.advance(1000);
    expect(engine.joules).toBeCloseTo(110, 6);
    expect(engine.watts).toBe(110);
    engine.submit(jobOf(1, [1], 2), 1000);
    expect(engine.watts).toBe(650);
    engine.advance(1000 + prefillOf(512, 512));
    expect(engine.joules).toBeCloseTo(110 + 0.65 * prefillOf(512, 512), 6);
    expect(engine.watts).toBeCloseTo(110 + 310 / 32, 6);
    const beforeJ = engine.joules;
    engine.advance(1000 + prefillOf(512, 512) + 20.4);
    expect(engine.joules - beforeJ).toBeCloseTo(0.0204 * (110 + 310 / 32), 6);
  });
});
