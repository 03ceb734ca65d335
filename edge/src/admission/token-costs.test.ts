import { expect, test } from 'vitest';
import { AnswerTokens, PromptTokens, UsualAnswer } from './token-costs.ts';

const stream = { hasBegun: true, tookMs: 1_000, isLeft: true, tokensMax: 512 } as const;
const whole = { ...stream, hasBegun: false };

test('the tokens of a stream are those of its bytes, as its model’s streams have them', () => {
  const answers = new AnswerTokens();
  expect(answers.in({ ...stream, bodyBytes: 2_000 })).toBe(10);
  answers.saw({ ...stream, bodyBytes: 5_000 }, 100);
  expect(answers.in({ ...stream, bodyBytes: 2_000 })).toBe(40);
  for (let answer = 0; answer < 200; answer += 1) answers.saw({ ...stream, bodyBytes: 30_000 }, 100);
  expect(answers.in({ ...stream, bodyBytes: 30_000 })).toBeCloseTo(100, 0);
  expect(answers.in({ ...stream, bodyBytes: 300_000 })).toBeCloseTo(1_000, -1);
});

test('a stream that counts nothing, or has no bytes, teaches nothing', () => {
  const answers = new AnswerTokens();
  answers.saw({ ...stream, bodyBytes: 0 }, 100);
  answers.saw({ ...stream, bodyBytes: 900 }, 0);
  expect(answers.in({ ...stream, bodyBytes: 2_000 })).toBe(10);
});

test('what comes in one piece has had what its time makes if its client left, else what it says', () => {
  const answers = new AnswerTokens();
  expect(answers.in({ ...whole, bodyBytes: 0, tookMs: 60_000 })).toBe(0);
  answers.saw({ ...whole, bodyBytes: 7_000, tookMs: 30_000 }, 1_500);
  expect(answers.in({ ...whole, bodyBytes: 0, tookMs: 28_000 })).toBe(1_400);
  expect(answers.in({ ...whole, bodyBytes: 0, tookMs: 28_000, isLeft: false })).toBe(0);
  expect(answers.in({ ...whole, bodyBytes: 1_000 })).toBe(250);
  // Vectors are no text.
  expect(answers.in({ ...whole, bodyBytes: 50_000 })).toBe(512);
  // Of the bytes of streams it says nothing.
  expect(answers.in({ ...stream, bodyBytes: 2_000 })).toBe(10);
});

test('an answer is likely to take what its tenant’s take, and no more than it asks for', () => {
  const usual = new UsualAnswer();
  expect(usual.within(2_000)).toBe(2_000);
  for (let answer = 0; answer < 3; answer += 1) usual.saw(40);
  expect([usual.within(2_000), usual.within(10)]).toEqual([expect.closeTo(40), 10]);
  for (let answer = 0; answer < 200; answer += 1) usual.saw(700);
  expect(usual.within(2_000)).toBeCloseTo(700, 0);
});

test('a prompt has as many tokens to what is guessed of it as those that were counted', () => {
  const prompts = new PromptTokens();
  expect(prompts.in(40)).toBe(40);
  prompts.saw(10, 40);
  prompts.saw(0, 40);
  expect(prompts.in(400)).toBe(100);
});
