import { expect, test } from 'vitest';
import { checkReal, textOf } from './real-check.ts';
import type { Recorded } from './recorder-messages.ts';

const sse = (...texts: string[]): string =>
  texts.map((text) => `data: ${JSON.stringify({ choices: [{ index: 0, text }] })}\n\n`).join('');
const had = (prompt: string, ...texts: string[]): Recorded => ({
  ...{ requestId: 'r', path: '/v1/completions', body: JSON.stringify({ prompt }) },
  ...{ answer: sse(...texts), isWhole: true },
});

test('the text of an answer is that of its whole events', () => {
  const chat = 'data: {"choices":[{"index":0,"delta":{"content":" d"}}]}\n\n';
  expect(textOf(`${sse(' a', ' b')}: comment\n\n${chat}data: [DONE]\n\ndata: {"choices":[{"te`)).toBe(
    ' a b d',
  );
});

test('an answer of one engine is right, and so is one that goes on behind what was sent', () => {
  expect(checkReal(' a b', [had('p', ' a', ' b')])).toMatchObject({ isRight: true, continuations: 0 });
  // The first engine said more than the client was sent.
  const two = [had('p', ' a', ' b', ' c'), had('p a b', ' x', ' y'), had('p a b x', ' z')];
  expect(checkReal(' a b x z', two)).toEqual({ isRight: true, why: '', continuations: 2 });
});

test.each<[string, string, Recorded[]]>([
  ['a lost word', ' a x', [had('p', ' a', ' b'), had('p a b', ' x')]],
  ['a repeated word', ' a b b x', [had('p', ' a', ' b'), had('p a b', ' x')]],
  ['a word that no engine said', ' a q x', [had('p', ' a', ' b'), had('p a q', ' x')]],
  ['another rest', ' a b y', [had('p', ' a', ' b'), had('p a b', ' x')]],
  ['another prompt', ' a b x', [had('p', ' a', ' b'), had('q a b', ' x')]],
  ['nobody', ' a', []],
])('%s is wrong', (_, text, asked) => {
  expect(checkReal(text, asked).isRight).toBe(false);
});
