import { expect, test } from 'vitest';
import { differencesMax, RenderCheck, tellMsMax, unmatchedMax } from './render-check.ts';

const checkWith = () => {
  const state = { now: 0, named: new Set<bigint>() };
  const options = { monotonicMs: () => state.now, isNamed: (block: bigint) => state.named.has(block) };
  return { check: new RenderCheck(options), state };
};

test('the first prompt that the engine counts otherwise is enough, and both numbers are told', () => {
  const { check } = checkWith();
  expect(check.counted(10, 11)).toBe('the engine counts 11 tokens in a prompt in which we count 10');
});

test('once one was right, only so many in a row are', () => {
  const { check } = checkWith();
  expect(check.counted(10, 10)).toBeUndefined();
  for (let times = 1; times < differencesMax; times += 1) expect(check.counted(10, 11)).toBeUndefined();
  expect(check.counted(10, 10)).toBeUndefined();
  for (let times = 1; times < differencesMax; times += 1) expect(check.counted(10, 11)).toBeUndefined();
  expect(check.counted(10, 12)).toMatch(/12 tokens/);
});

test('prompts of which the engine names no block in time are wrong, one after the other', () => {
  const { check, state } = checkWith();
  const expectMany = (count: number): (string | undefined)[] =>
    Array.from({ length: count }, (_, at) => check.expects(BigInt(at + 1)));
  expect(expectMany(unmatchedMax * 4).every((wrong) => wrong === undefined)).toBe(true);
  state.now = tellMsMax;
  expect(check.expects(99n)).toMatch(/named no block of \d+ prompts/);
});

test('a block that was named at last counts for all before it', () => {
  const { check, state } = checkWith();
  for (let at = 1; at < unmatchedMax; at += 1) check.expects(BigInt(at));
  state.now = tellMsMax;
  check.expects(50n);
  state.named.add(50n);
  check.expects(51n);
  state.now = 2 * tellMsMax;
  expect(check.expects(52n)).toBeUndefined();
});
