import { expect, test } from 'vitest';
import { MoveRates } from './move-rates.ts';

const learned = (rates: { fetchBytes: number; insertBytes: number; prefillTokens: number }): MoveRates => {
  const found = new MoveRates();
  // Each in one second: what is seen takes the place of a guess.
  found.fetch.saw(rates.fetchBytes, 1_000);
  found.insert.saw(rates.insertBytes, 1_000);
  found.prefill.saw(rates.prefillTokens, 1_000);
  return found;
};

test('a prefix moves only where fetching and inserting are quicker than computing', () => {
  const usual = { fetchBytes: 100e6, insertBytes: 1e9, prefillTokens: 1_000 };
  const move = { bytes: 100e6, tokens: 2_000, ahead: 0, peer: undefined, msMax: 60_000 };
  expect(learned(usual).isWorthMoving(move)).toBe(true);
  expect(learned({ ...usual, fetchBytes: 10e6 }).isWorthMoving(move)).toBe(false);
  expect(learned({ ...usual, insertBytes: 50e6 }).isWorthMoving(move)).toBe(false);
  expect(learned({ ...usual, prefillTokens: 10_000 }).isWorthMoving(move)).toBe(false);
  expect(learned(usual).isWorthMoving({ ...move, tokens: 1_000 })).toBe(false);
  expect(learned(usual).isWorthMoving({ ...move, ahead: 1 })).toBe(false);
  expect(learned(usual).isWorthMoving({ ...move, msMax: 1_000 })).toBe(false);
});

test('from another host a prefix takes a round trip and as long as that way takes, not as what came before', () => {
  const rates = learned({ fetchBytes: 10e6, insertBytes: 1e9, prefillTokens: 1_000 });
  const move = { bytes: 100e6, tokens: 2_000, ahead: 0, msMax: 60_000 };
  const isWorth = (rttMs: number, bytesPerMs: number): boolean =>
    rates.isWorthMoving({ ...move, peer: { rttMs, bytesPerMs } });
  expect(isWorth(10, 100_000)).toBe(true);
  expect(isWorth(1_000, 100_000)).toBe(false);
  expect(isWorth(10, 50_000)).toBe(false);
  expect(isWorth(10, 0)).toBe(false);
});

test('new measurements count for more, and none of nothing counts', () => {
  const rates = learned({ fetchBytes: 1e6, insertBytes: 1e6, prefillTokens: 100 });
  const before = rates.prefill.msFor(100);
  for (const [units, ms] of [
    [0, 5],
    [5, 0],
    [Number.NaN, 1],
  ] as const) {
    rates.prefill.saw(units, ms);
  }
  expect(rates.prefill.msFor(100)).toBe(before);
  for (let times = 0; times < 20; times += 1) rates.prefill.saw(1_000, 1_000);
  expect(rates.prefill.msFor(100)).toBeLessThan(before / 5);
});
