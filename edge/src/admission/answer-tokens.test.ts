import { expect, test } from 'vitest';
import { AnswerTokens } from './answer-tokens.ts';

test('tokens of an answer are its bytes over what a token took, the latest answers counting most', () => {
  const tokens = new AnswerTokens();
  expect(tokens.in(20_000)).toBe(100);
  tokens.saw(50_000, 1_000);
  expect(tokens.in(20_000)).toBe(400);
  for (let answer = 0; answer < 200; answer += 1) tokens.saw(100_000, 1_000);
  expect(tokens.in(20_000)).toBeCloseTo(200, 0);
});

test('an answer without tokens or bytes teaches nothing', () => {
  const tokens = new AnswerTokens();
  tokens.saw(1_000, 0);
  tokens.saw(0, 10);
  expect(tokens.in(20_000)).toBe(100);
});
