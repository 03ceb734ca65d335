/**
 * Predictions against a plain list of what each request made likely. Whatever happens: a guess that a request made and
 * did not take back stands until its deadline, and none stands that no request made.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slotBytes } from './digest-table.ts';
import { type Prediction, Predictions } from './predictions.ts';
import type { Slot } from './replica-slots.ts';

/** Prompts that share beginnings: block `i` of prompt `p` is shared by all prompts that agree up to there. */
const blocksMax = 6;
const prompts = 4;
const digestOf = (prompt: number, block: number): readonly [lo: number, hi: number] => {
  const branch = block < 2 ? 0 : block < 4 ? prompt >> 1 : prompt;
  return [Math.imul(block * 8 + branch, 0x85eb_ca6b) >>> 0, block];
};
const chainOf = (prompt: number): Uint32Array =>
  Uint32Array.from(Array.from({ length: blocksMax }, (_, block) => [...digestOf(prompt, block)]).flat());
const chains = Array.from({ length: prompts }, (_, prompt) => chainOf(prompt));

const slots = [0, 5, 31, 32, 63] as Slot[];
const slot = fc.constantFrom(...slots);
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      prompt: fc.nat(prompts - 1),
      from: fc.nat(3),
      to: fc.integer({ min: 1, max: blocksMax }),
      slot,
      livesMs: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('takeBack' as const), which: fc.nat(30) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), forwardMs: fc.nat(15) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), slot }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

interface Request {
  readonly prediction: Prediction;
  readonly digests: ReadonlySet<string>;
  readonly slot: Slot;
  readonly madeMs: number;
  readonly deadlineMs: number;
  isTakenBack: boolean;
  isCleared: boolean;
}

/** Some request makes this likely now. */
const mustStand = (requests: readonly Request[], digest: string, slot: Slot, nowMs: number): boolean =>
  requests.some(
    (request) =>
      request.slot === slot &&
      request.digests.has(digest) &&
      !request.isTakenBack &&
      !request.isCleared &&
      request.deadlineMs > nowMs,
  );

/**
 * Some request made it likely and has not taken it back, and it was likely without a break from then until now, be it
 * by the deadlines of requests that failed since.
 */
const mayStand = (requests: readonly Request[], digest: string, slot: Slot, nowMs: number): boolean => {
  const about = requests.filter(
    (request) => request.slot === slot && request.digests.has(digest) && !request.isCleared,
  );
  return about.some((request) => {
    if (request.isTakenBack) return false;
    let untilMs = request.deadlineMs;
    for (const other of about) if (other.madeMs < untilMs) untilMs = Math.max(untilMs, other.deadlineMs);
    return untilMs > nowMs;
  });
};

const run = (tableSlots: number, operations: readonly Operation[]): void => {
  const predictions = new Predictions({ bytesMax: tableSlots * slotBytes, secret: 7 });
  const hasRoom = tableSlots > 500;
  const requests: Request[] = [];
  let nowMs = 1_700_000_000_000;
  for (const next of operations) {
    if (next.kind === 'add') {
      const chain = chains[next.prompt] ?? new Uint32Array();
      const deadlineMs = nowMs + next.livesMs;
      const options = { chain, fromBlock: next.from, toBlock: next.to, slot: next.slot, nowMs, deadlineMs };
      const prediction = predictions.add(options);
      if (hasRoom) expect(prediction.toBlock).toBe(Math.max(next.from, next.to));
      const count = Math.max(0, prediction.toBlock - next.from);
      const digests = new Set(
        Array.from({ length: count }, (_, index) => digestOf(next.prompt, next.from + index).join()),
      );
      requests.push({
        prediction,
        digests,
        slot: next.slot,
        madeMs: nowMs,
        deadlineMs,
        isTakenBack: false,
        isCleared: false,
      });
    } else if (next.kind === 'takeBack') {
      const request = requests[next.which % Math.max(1, requests.length)];
      if (request === undefined) continue;
      predictions.takeBack(request.prediction, nowMs);
      request.isTakenBack = true;
    } else if (next.kind === 'wait') nowMs += next.forwardMs;
    else {
      predictions.clear(next.slot);
      for (const request of requests) if (request.slot === next.slot) request.isCleared = true;
    }
    expectAsModelled(predictions, requests, nowMs, hasRoom);
    expect(predictions.entries).toBeLessThanOrEqual(predictions.entriesMax);
  }
};

const expectAsModelled = (
  predictions: Predictions,
  requests: readonly Request[],
  nowMs: number,
  hasRoom: boolean,
): void => {
  for (let prompt = 0; prompt < prompts; prompt += 1) {
    for (let block = 0; block < blocksMax; block += 1) {
      const [lo, hi] = digestOf(prompt, block);
      const holders = [0, 1].map((half) => predictions.holders(lo, hi, half, nowMs));
      for (const slot of slots) {
        const stands = (((holders[slot >>> 5] ?? 0) >>> (slot & 31)) & 1) === 1;
        const digest = digestOf(prompt, block).join();
        if (stands) expect(mayStand(requests, digest, slot, nowMs)).toBe(true);
        else if (hasRoom) expect(mustStand(requests, digest, slot, nowMs)).toBe(false);
      }
    }
  }
  for (let half = 0; half < 2; half += 1) expect(predictions.holders(123, 4, half, nowMs)).toBe(0);
};

const operations = fc.array(operation, { maxLength: 60, size: 'max' });

test('with room for all, guesses end by deadline, clearing or being taken back, and by nothing else', () => {
  fc.assert(fc.property(fc.constant(2000), operations, run), { numRuns: 150 });
});

test('however small the table is, nothing stands that no request made likely', () => {
  fc.assert(fc.property(fc.integer({ min: 12, max: 60 }), operations, run), { numRuns: 200 });
});
