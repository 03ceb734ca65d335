import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { slotBytes } from './digest-table.ts';
import { Predictions } from './predictions.ts';
import type { Slot } from './replica-slots.ts';

const tableOf = (slots = 20_000): Predictions =>
  new Predictions({ bytesMax: slots * slotBytes, secret: 0x9e37_79b1 });
const first = 0 as Slot;
const last = 63 as Slot;
const chain = randomWords(1, 200);

const depthOf = (predictions: Predictions, slot: Slot, nowMs: number, of = chain): number => {
  const blocks = of.length / 2;
  for (let block = 0; block < blocks; block += 1) {
    const holders = predictions.holders(of[block * 2] ?? 0, of[block * 2 + 1] ?? 0, slot >>> 5, nowMs);
    if (((holders >>> (slot & 31)) & 1) === 0) return block;
  }
  return blocks;
};

test('a guess stands until its deadline, for its blocks and its replica', () => {
  const predictions = tableOf();
  predictions.add({ chain, fromBlock: 0, toBlock: 70, slot: last, nowMs: 100, deadlineMs: 200 });
  expect(depthOf(predictions, last, 199)).toBe(70);
  expect(depthOf(predictions, first, 199)).toBe(0);
  expect(depthOf(predictions, last, 200)).toBe(0);
});

test('deadlines are wall-clock milliseconds and keep their order far in the future', () => {
  const predictions = tableOf();
  const nowMs = 4_102_444_800_000;
  predictions.add({ chain, fromBlock: 0, toBlock: 100, slot: first, nowMs, deadlineMs: nowMs + 30_000 });
  expect(depthOf(predictions, first, nowMs + 29_999)).toBe(100);
  expect(depthOf(predictions, first, nowMs + 30_000)).toBe(0);
});

test('a failed request takes back what it alone made likely, once', () => {
  const predictions = tableOf();
  const options = { chain, fromBlock: 0, slot: first, nowMs: 0, deadlineMs: 100 };
  const short = predictions.add({ ...options, toBlock: 30 });
  const long = predictions.add({ ...options, toBlock: 90 });
  predictions.takeBack(long, 1);
  expect(depthOf(predictions, first, 1)).toBe(30);
  predictions.takeBack(long, 1);
  expect(depthOf(predictions, first, 1)).toBe(30);
  predictions.takeBack(short, 2);
  expect(depthOf(predictions, first, 2)).toBe(0);
  expect(predictions.entries).toBe(0);
});

test('a request whose guess has ended takes nothing from a later one', () => {
  const predictions = tableOf();
  const options = { chain, fromBlock: 0, toBlock: 100, slot: first };
  const early = predictions.add({ ...options, nowMs: 0, deadlineMs: 10 });
  predictions.add({ ...options, nowMs: 20, deadlineMs: 50 });
  predictions.takeBack(early, 21);
  expect(depthOf(predictions, first, 49)).toBe(100);
});

test('a cleared slot’s guesses are gone, also those that its next replica’s requests might take back', () => {
  const predictions = tableOf();
  const options = { chain, fromBlock: 0, toBlock: 100, slot: first, nowMs: 0, deadlineMs: 100 };
  const before = predictions.add(options);
  predictions.clear(first);
  expect(depthOf(predictions, first, 1)).toBe(0);
  predictions.add(options);
  predictions.takeBack(before, 2);
  expect(depthOf(predictions, first, 3)).toBe(100);
});

test('all replicas of a cell may be expected to hold the same blocks', () => {
  const predictions = tableOf();
  for (let slot = 0; slot < 64; slot += 1) {
    predictions.add({ chain, fromBlock: 0, toBlock: 100, slot: slot as Slot, nowMs: 0, deadlineMs: 9 });
  }
  for (let slot = 0; slot < 64; slot += 1) expect(depthOf(predictions, slot as Slot, 1)).toBe(100);
});

test('a full table grows no further: what ends soonest gives way, else the prompt’s end stays out', () => {
  const predictions = tableOf(3000);
  const { bytes, entriesMax } = predictions;
  for (let seed = 1; seed < 100; seed += 1) {
    const early = randomWords(seed, 200);
    const slot = first;
    predictions.add({ chain: early, fromBlock: 0, toBlock: 100, slot, nowMs: seed, deadlineMs: 1000 + seed });
    expect(depthOf(predictions, first, seed, early)).toBe(100);
    expect(predictions.entries).toBeLessThanOrEqual(entriesMax);
  }
  const long = randomWords(1000, 6000);
  const options = { chain: long, fromBlock: 0, toBlock: 3000, slot: last, nowMs: 200, deadlineMs: 2000 };
  const { toBlock } = predictions.add(options);
  expect(toBlock).toBeGreaterThan(entriesMax / 2);
  expect(depthOf(predictions, last, 201, long)).toBe(toBlock);
  expect(predictions.bytes).toBe(bytes);
});

test('what has ended makes room without being asked', () => {
  const predictions = tableOf(3000);
  for (let nowMs = 0; nowMs < 10_000; nowMs += 100) {
    const slot = first;
    const later = randomWords(nowMs + 1, 200);
    predictions.add({ chain: later, fromBlock: 0, toBlock: 100, slot, nowMs, deadlineMs: nowMs + 300 });
    expect(predictions.entries).toBeLessThan(1500);
  }
});
