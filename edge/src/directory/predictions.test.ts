import { expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { Predictions } from './predictions.ts';
import type { Slot } from './replica-slots.ts';

const roomy = (): Predictions => new Predictions({ bytesMax: 2 ** 20 });
const first = 0 as Slot;
const last = 63 as Slot;
const chain = randomWords(1, 200);

/** Asked from block to block, as by a match that finds none of them confirmed. */
const depthOf = (predictions: Predictions, slot: Slot, nowMs: number, of = chain): number => {
  const until = new Uint16Array(64);
  let depth = 0;
  for (;;) {
    predictions.extend(of, depth, of.length / 2, nowMs, until);
    const reached = until[slot] ?? 0;
    if (reached <= depth) return depth;
    depth = reached;
  }
};

test('a guess stands until its deadline, for its blocks and its replica', () => {
  const predictions = roomy();
  predictions.add({ chain, fromBlock: 0, toBlock: 70, slot: last, nowMs: 100, deadlineMs: 200 });
  expect(depthOf(predictions, last, 199)).toBe(70);
  expect(depthOf(predictions, first, 199)).toBe(0);
  expect(depthOf(predictions, last, 200)).toBe(0);
});

test('deadlines are wall-clock milliseconds and keep their order far in the future', () => {
  const predictions = roomy();
  const nowMs = 4_102_444_800_000;
  predictions.add({ chain, fromBlock: 0, toBlock: 100, slot: first, nowMs, deadlineMs: nowMs + 30_000 });
  expect(depthOf(predictions, first, nowMs + 29_999)).toBe(100);
  expect(depthOf(predictions, first, nowMs + 30_000)).toBe(0);
});

test('a failed request takes back what it alone made likely, once', () => {
  const predictions = roomy();
  const options = { chain, fromBlock: 0, slot: first, nowMs: 0, deadlineMs: 100 };
  const short = predictions.add({ ...options, toBlock: 30 });
  const long = predictions.add({ ...options, toBlock: 90 });
  predictions.takeBack(long);
  expect(depthOf(predictions, first, 1)).toBe(30);
  predictions.takeBack(long);
  expect(depthOf(predictions, first, 1)).toBe(30);
  predictions.takeBack(short);
  expect(depthOf(predictions, first, 2)).toBe(0);
  expect(predictions.bytes).toBe(0);
});

test('a request whose guess has ended takes nothing from a later one', () => {
  const predictions = roomy();
  const options = { chain, fromBlock: 0, toBlock: 100, slot: first };
  const early = predictions.add({ ...options, nowMs: 0, deadlineMs: 10 });
  predictions.add({ ...options, nowMs: 20, deadlineMs: 50 });
  predictions.takeBack(early);
  expect(depthOf(predictions, first, 49)).toBe(100);
});

test('a cleared slot’s guesses are gone, also those that its next replica’s requests might take back', () => {
  const predictions = roomy();
  const options = { chain, fromBlock: 0, toBlock: 100, slot: first, nowMs: 0, deadlineMs: 100 };
  const before = predictions.add(options);
  predictions.clear(first);
  expect(depthOf(predictions, first, 1)).toBe(0);
  predictions.add(options);
  predictions.takeBack(before);
  expect(depthOf(predictions, first, 3)).toBe(100);
});

test('all replicas of a cell may be expected to hold the same blocks', () => {
  const predictions = roomy();
  for (let slot = 0; slot < 64; slot += 1) {
    predictions.add({ chain, fromBlock: 0, toBlock: 100, slot: slot as Slot, nowMs: 0, deadlineMs: 9 });
  }
  for (let slot = 0; slot < 64; slot += 1) expect(depthOf(predictions, slot as Slot, 1)).toBe(100);
});

test('two prompts are told apart at the block where they part, wherever that is', () => {
  for (let parting = 0; parting <= 100; parting += 1) {
    const predictions = roomy();
    predictions.add({ chain, fromBlock: 0, toBlock: 100, slot: last, nowMs: 0, deadlineMs: 9 });
    const other = randomWords(2, 200);
    other.set(chain.subarray(0, parting * 2));
    expect(depthOf(predictions, last, 1, other)).toBe(parting);
  }
});

test('a guess is found from any of its blocks on, and from none before', () => {
  const predictions = roomy();
  predictions.add({ chain, fromBlock: 37, toBlock: 90, slot: first, nowMs: 0, deadlineMs: 9 });
  for (let block = 0; block < 100; block += 1) {
    const until = new Uint16Array(64);
    predictions.extend(chain, block, 100, 1, until);
    expect(until[first]).toBe(block >= 37 && block < 90 ? 90 : 0);
  }
});

test('a guess does not change with the request’s own digests afterwards', () => {
  const predictions = roomy();
  const own = chain.slice();
  const prediction = predictions.add({
    ...{ chain: own, fromBlock: 0, toBlock: 100, slot: first, nowMs: 0, deadlineMs: 9 },
  });
  own.fill(0);
  expect(depthOf(predictions, first, 1)).toBe(100);
  predictions.takeBack(prediction);
  expect(depthOf(predictions, first, 1)).toBe(0);
});

test('without room, what ends soonest gives way, else the prompt’s end stays out', () => {
  const bytesMax = 30_000;
  const predictions = new Predictions({ bytesMax });
  for (let seed = 1; seed < 100; seed += 1) {
    const early = randomWords(seed, 200);
    const slot = first;
    predictions.add({ chain: early, fromBlock: 0, toBlock: 100, slot, nowMs: seed, deadlineMs: 1000 + seed });
    expect(depthOf(predictions, first, seed, early)).toBe(100);
    expect(predictions.bytes).toBeLessThanOrEqual(bytesMax);
  }
  const long = randomWords(1000, 6000);
  const options = { chain: long, fromBlock: 0, toBlock: 3000, slot: last, nowMs: 200 };
  expect(predictions.add({ ...options, deadlineMs: 900 }).toBlock).toBeLessThan(300);
  const { toBlock } = predictions.add({ ...options, deadlineMs: 2000 });
  expect(toBlock).toBeGreaterThan(2000);
  expect(depthOf(predictions, last, 201, long)).toBe(toBlock);
  expect(predictions.bytes).toBeLessThanOrEqual(bytesMax);
});

test('without room a guess gives way whole, and what others share with it stays', () => {
  // With more of others, who is looked at first is another one.
  for (let bytesMax = 3_500; bytesMax < 12_000; bytesMax += 720) {
    const predictions = new Predictions({ bytesMax });
    const options = { fromBlock: 0, slot: first, nowMs: 0 };
    const other = randomWords(2, 200);
    other.set(chain.subarray(0, 50 * 2));
    predictions.add({ ...options, chain, toBlock: 60, deadlineMs: 10 });
    predictions.add({ ...options, chain: other, toBlock: 60, deadlineMs: 10 });
    // As long as what one of the two has alone: the one that finds no room needs just that.
    for (let seed = 20, before = -1; before < predictions.bytes; seed += 1) {
      before = predictions.bytes;
      const late = { ...options, deadlineMs: 20, slot: last };
      predictions.add({ ...late, chain: randomWords(seed, 200), toBlock: 10 });
    }
    expect(predictions.bytes).toBeLessThanOrEqual(bytesMax);
    const depths = [depthOf(predictions, first, 4), depthOf(predictions, first, 4, other)];
    expect(depths.sort((left, right) => left - right)).toEqual([50, 60]);
  }
});

test('a shared beginning goes with the last that shared it, also when that gives way', () => {
  const predictions = new Predictions({ bytesMax: 4_000 });
  const options = { chain, fromBlock: 0, slot: first, nowMs: 0, deadlineMs: 10 };
  const short = predictions.add({ ...options, toBlock: 50 });
  const long = predictions.add({ ...options, toBlock: 100 });
  predictions.takeBack(short);
  expect([predictions.size, depthOf(predictions, first, 1)]).toEqual([2, 100]);
  predictions.add({ ...options, chain: randomWords(5, 400), toBlock: 100, deadlineMs: 20 });
  predictions.takeBack(long);
  expect([predictions.size, depthOf(predictions, first, 1)]).toEqual([1, 0]);
});

test('a guess that was made elsewhere takes nothing back: a cell’s map, and its guesses, may be others now', () => {
  const [before, now] = [roomy(), roomy()];
  const options = { chain, fromBlock: 0, toBlock: 100, slot: first, nowMs: 0, deadlineMs: 100 };
  const old = before.add(options);
  now.add(options);
  const { bytes } = now;
  now.takeBack(old);
  expect([depthOf(now, first, 1), now.bytes]).toEqual([100, bytes]);
});

test('what has ended is removed without being asked for', () => {
  const predictions = roomy();
  let aloneBytes = 0;
  for (let nowMs = 0; nowMs < 10_000; nowMs += 100) {
    const slot = first;
    const later = randomWords(nowMs + 1, 200);
    predictions.add({ chain: later, fromBlock: 0, toBlock: 100, slot, nowMs, deadlineMs: nowMs + 300 });
    if (nowMs === 0) aloneBytes = predictions.bytes;
    expect(predictions.bytes).toBeLessThan(8 * aloneBytes);
  }
});

test('of very many stretches that begin with one block the latest are looked at', () => {
  const predictions = roomy();
  const options = { fromBlock: 0, nowMs: 0, deadlineMs: 9 };
  predictions.add({ ...options, chain, toBlock: 3, slot: last });
  for (let seed = 1; seed <= 200; seed += 1) {
    const alike = randomWords(seed, 200);
    alike.set(chain.subarray(0, 1));
    predictions.add({ ...options, chain: alike, toBlock: 3, slot: first });
  }
  predictions.add({ ...options, chain, toBlock: 3, slot: first });
  expect([depthOf(predictions, first, 1), depthOf(predictions, last, 1)]).toEqual([3, 0]);
});

test('however many siblings there are, they hide nobody else’s guess', () => {
  const predictions = roomy();
  const options = { chain, fromBlock: 0, toBlock: 3, nowMs: 0, deadlineMs: 9 };
  predictions.add({ ...options, slot: last });
  for (let made = 0; made < 200; made += 1) predictions.add({ ...options, slot: first });
  expect([depthOf(predictions, first, 1), depthOf(predictions, last, 1)]).toEqual([3, 3]);
});

test('the turns of a session in one queue take the room of the longest, and a little each', () => {
  const long = randomWords(3, 4000);
  const options = { chain: long, fromBlock: 0, slot: first, nowMs: 0, deadlineMs: 9 };
  const one = roomy();
  one.add({ ...options, toBlock: 2000 });
  const turns = roomy();
  for (let toBlock = 1000; toBlock <= 2000; toBlock += 100) turns.add({ ...options, toBlock });
  expect(depthOf(turns, first, 1, long)).toBe(2000);
  expect(turns.bytes).toBeLessThan(1.5 * one.bytes);
});

test('a turn that goes before the others takes nothing of theirs, in whichever order they came', () => {
  const options = { chain, fromBlock: 0, slot: first, nowMs: 0, deadlineMs: 9 };
  for (const lengths of [
    [30, 60, 90],
    [90, 60, 30],
    [60, 30, 90],
  ]) {
    const predictions = roomy();
    const turns = lengths.map((toBlock) => ({ toBlock, turn: predictions.add({ ...options, toBlock }) }));
    for (const { turn, toBlock } of turns) {
      predictions.takeBack(turn);
      const left = turns.slice(turns.findIndex((one) => one.toBlock === toBlock) + 1);
      expect(depthOf(predictions, first, 1)).toBe(Math.max(0, ...left.map((one) => one.toBlock)));
    }
    expect([predictions.size, predictions.bytes]).toEqual([0, 0]);
  }
});

test('what two share stands until the later deadline, what one alone has until its own', () => {
  const predictions = roomy();
  const other = randomWords(2, 200);
  other.set(chain.subarray(0, 40 * 2));
  const options = { fromBlock: 0, toBlock: 100, slot: first, nowMs: 0 };
  predictions.add({ ...options, chain, deadlineMs: 10 });
  const later = predictions.add({ ...options, chain: other, deadlineMs: 20 });
  expect([depthOf(predictions, first, 9), depthOf(predictions, first, 9, other)]).toEqual([100, 100]);
  expect([depthOf(predictions, first, 19), depthOf(predictions, first, 19, other)]).toEqual([40, 100]);
  predictions.takeBack(later);
  expect([depthOf(predictions, first, 9), depthOf(predictions, first, 9, other)]).toEqual([100, 40]);
  expect([depthOf(predictions, first, 19), depthOf(predictions, first, 19, other)]).toEqual([0, 0]);
});
