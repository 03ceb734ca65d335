/**
 * Predictions against a plain list of what each request made likely. Whatever happens: a guess that a request made and
 * did not take back stands until its deadline, and none stands that no request made. And the map's matches with
 * predictions, against a walk from block to block.
 */
import { type Tier, tiers } from '@cognitora/protocol/kv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Prediction, Predictions } from './predictions.ts';
import { PrefixMap } from './prefix-map.ts';
import type { Slot } from './replica-slots.ts';

/** Prompts that share beginnings: they part at blocks 20 and 70, between those by which guesses are found. */
const blocksMax = 100;
const prompts = 4;
const digestOf = (prompt: number, block: number): readonly [lo: number, hi: number] => {
  const branch = block < 20 ? 0 : block < 70 ? prompt >> 1 : prompt;
  return [Math.imul(block * 8 + branch, 0x85eb_ca6b) >>> 0, block];
};
const chainOf = (prompt: number): Uint32Array =>
  Uint32Array.from(Array.from({ length: blocksMax }, (_, block) => [...digestOf(prompt, block)]).flat());
const chains = Array.from({ length: prompts }, (_, prompt) => chainOf(prompt));
const digestsOf = (prompt: number): Uint32Array => chains[prompt] ?? new Uint32Array();

const slots = [0, 5, 31, 32, 63] as Slot[];
const slot = fc.constantFrom(...slots);
const guess = fc.record({
  prompt: fc.nat(prompts - 1),
  from: fc.nat(70),
  to: fc.integer({ min: 1, max: blocksMax }),
  slot,
  livesMs: fc.integer({ min: 1, max: 40 }),
});
const operation = fc.oneof(
  { weight: 6, arbitrary: guess.map((made) => ({ kind: 'add' as const, ...made })) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('takeBack' as const), which: fc.nat(30) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), forwardMs: fc.nat(15) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), slot }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

interface Request {
  readonly prediction: Prediction;
  readonly prompt: number;
  readonly from: number;
  readonly slot: Slot;
  readonly deadlineMs: number;
  isOver: boolean;
}

/** Block by block, where this request's guess about a block of a prompt ends; 0 when it is not about that. */
const endOf = ({ prediction, prompt, from }: Request, of: number, block: number): number => {
  const isSame = (at: number): boolean => digestOf(prompt, at)[0] === digestOf(of, at)[0];
  if (block < from || block >= prediction.toBlock || !isSame(block)) return 0;
  let end = block;
  while (end < prediction.toBlock && isSame(end)) end += 1;
  return end;
};

/** From `block` on, as far as guesses follow each other without a gap. */
const reachFrom = (block: number, endAt: (block: number) => number): number => {
  let reached = block;
  for (let end = endAt(block); end > reached; end = endAt(reached)) reached = end;
  return reached;
};

const expectAsModelled = (
  predictions: Predictions,
  requests: readonly Request[],
  nowMs: number,
  hasRoom: boolean,
): void => {
  const standing = requests.filter(({ isOver, deadlineMs }) => !isOver && deadlineMs > nowMs);
  const until = new Uint16Array(64);
  const wrong: string[] = [];
  for (let prompt = 0; prompt < prompts; prompt += 1) {
    for (const slot of slots) {
      const ofSlot = standing.filter((request) => request.slot === slot);
      for (let block = 0; block < blocksMax; block += 7) {
        const end = reachFrom(block, (at) => {
          until.fill(0);
          predictions.extend(digestsOf(prompt), at, blocksMax, nowMs, until);
          return until[slot] ?? 0;
        });
        const most = reachFrom(block, (at) =>
          Math.max(0, ...ofSlot.map((request) => endOf(request, prompt, at))),
        );
        if (hasRoom ? end !== most : end > most) wrong.push(`${slot}: ${end}, not ${most}`);
      }
    }
  }
  expect(wrong).toEqual([]);
};

const run = (bytesMax: number, operations: readonly Operation[]): void => {
  const predictions = new Predictions({ bytesMax });
  const hasRoom = bytesMax > 2 ** 19;
  const requests: Request[] = [];
  let nowMs = 1_700_000_000_000;
  for (const next of operations) {
    if (next.kind === 'add') {
      const { prompt, from, to, slot } = next;
      const deadlineMs = nowMs + next.livesMs;
      const options = { chain: digestsOf(prompt), fromBlock: from, toBlock: to, slot, nowMs, deadlineMs };
      const prediction = predictions.add(options);
      if (hasRoom) expect(prediction.toBlock).toBe(Math.max(from, to));
      requests.push({ prediction, prompt, from, slot, deadlineMs, isOver: false });
    } else if (next.kind === 'takeBack') {
      const request = requests[next.which % Math.max(1, requests.length)];
      if (request === undefined) continue;
      predictions.takeBack(request.prediction);
      request.isOver = true;
    } else if (next.kind === 'wait') nowMs += next.forwardMs;
    else {
      predictions.clear(next.slot);
      for (const request of requests) if (request.slot === next.slot) request.isOver = true;
    }
    expectAsModelled(predictions, requests, nowMs, hasRoom);
    expect(predictions.bytes).toBeLessThanOrEqual(bytesMax);
  }
  for (const { prediction } of requests) predictions.takeBack(prediction);
  expect(predictions.bytes).toBe(0);
};

const operations = fc.array(operation, { maxLength: 60, size: 'max' });

test('with room for all, guesses end by deadline, clearing or being taken back, and by nothing else', () => {
  fc.assert(fc.property(fc.constant(2 ** 20), operations, run), { numRuns: 100 });
});

test('however little room there is, nothing stands that no request made likely', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 8000 }), operations, run), { numRuns: 150 });
});

const holding = fc.record({
  prompt: fc.nat(prompts - 1),
  from: fc.nat(90),
  to: fc.nat(blocksMax),
  slot,
  tier: fc.constantFrom(...tiers),
});
type Holding = typeof holding extends fc.Arbitrary<infer Value> ? Value : never;
type Made = typeof guess extends fc.Arbitrary<infer Value> ? Value : never;

const covers = ({ prompt, from, to }: Holding | Made, of: number, block: number): boolean =>
  block >= from && block < to && digestOf(prompt, block)[0] === digestOf(of, block)[0];

const depthWhere = (isThere: (block: number) => boolean): number => {
  let depth = 0;
  while (depth < blocksMax && isThere(depth)) depth += 1;
  return depth;
};

test('a match tells of each replica how far its blocks and the guesses about it reach without a gap', () => {
  const check = (holdings: readonly Holding[], guesses: readonly Made[], hidden: Slot): void => {
    const predictions = new Predictions({ bytesMax: 2 ** 20 });
    const map = new PrefixMap({ bytesMax: 2 ** 17, secret: 7, predictions });
    for (let claimed = 0; claimed < 64; claimed += 1) {
      const slot = map.claim() ?? (0 as Slot);
      if (slot !== hidden) map.show(slot);
    }
    for (const { prompt, from, to, slot, tier } of holdings) {
      map.add(digestsOf(prompt).subarray(from * 2, to * 2), slot, tier);
    }
    for (const { prompt, from, to, slot } of guesses) {
      const chain = digestsOf(prompt);
      predictions.add({ chain, fromBlock: from, toBlock: to, slot, nowMs: 0, deadlineMs: 1 });
    }
    for (let prompt = 0; prompt < prompts; prompt += 1) {
      const chain = digestsOf(prompt);
      const depths = map.match({ chain, blocks: blocksMax, eligibleLo: -1, eligibleHi: -1, nowMs: 0 });
      for (const slot of slots) {
        const has = (block: number, among: readonly Tier[]): boolean =>
          slot !== hidden &&
          holdings.some((one) => one.slot === slot && among.includes(one.tier) && covers(one, prompt, block));
        const isGuessed = (block: number): boolean =>
          guesses.some((one) => one.slot === slot && covers(one, prompt, block));
        expect(depths.device[slot]).toBe(depthWhere((block) => has(block, ['device'])));
        expect(depths.held[slot]).toBe(depthWhere((block) => has(block, tiers)));
        expect(depths.expected[slot]).toBe(depthWhere((block) => has(block, tiers) || isGuessed(block)));
      }
    }
  };
  // Most begin at the prompt's start, or nothing would reach anywhere.
  const oftenFromStart = <Span extends Holding | Made>(span: fc.Arbitrary<Span>): fc.Arbitrary<Span> =>
    fc.tuple(span, fc.boolean()).map(([one, isFirst]) => (isFirst ? { ...one, from: 0 } : one));
  const [holdings, guesses] = [
    fc.array(oftenFromStart(holding), { maxLength: 20 }),
    fc.array(oftenFromStart(guess), { maxLength: 20 }),
  ];
  fc.assert(fc.property(holdings, guesses, slot, check), { numRuns: 150 });
});
