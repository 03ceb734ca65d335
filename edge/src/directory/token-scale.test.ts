import { expect, test } from 'vitest';
import { TokenScale } from './token-scale.ts';

test('before anything is learned four bytes make a token, and no prompt has none', () => {
  const scale = new TokenScale();
  expect(scale.tokensIn(400)).toBe(100);
  expect(scale.tokensIn(0)).toBe(1);
});

test('what an engine counts is learned, and outweighs what it counted long ago', () => {
  const scale = new TokenScale();
  for (let request = 0; request < 200; request += 1) scale.learn(5_000, 10_000);
  expect(scale.tokensIn(1_000)).toBeCloseTo(500, -1);
  for (let request = 0; request < 800; request += 1) scale.learn(1_000, 10_000);
  expect(scale.tokensIn(1_000)).toBeCloseTo(100, -1);
});

test('counts that say nothing change nothing', () => {
  const scale = new TokenScale();
  scale.learn(0, 1_000);
  scale.learn(1_000, 0);
  expect(scale.tokensIn(400)).toBe(100);
});
