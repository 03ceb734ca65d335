import { expect, test } from 'vitest';
import { judge, type Seen } from './outcome.ts';

const expected = { text: ' a b c', words: 3, finishReason: 'stop' } as const;
const right: Seen = { text: ' a b c', finishReason: 'stop', isDone: true, failure: undefined, expected };

test.each<[string, Partial<Seen>, string]>([
  ['all of it', {}, 'right'],
  ['another word', { text: ' a b d' }, 'wrong text'],
  ['a word twice', { text: ' a a b c' }, 'wrong text'],
  [
    'a wrong word before an error',
    { text: ' b', failure: { kind: 'event', code: 'x', message: '' } },
    'wrong text',
  ],
  ['a part, then [DONE]', { text: ' a b' }, 'clean end, text lost'],
  ['nothing, then [DONE]', { text: '', finishReason: undefined }, 'clean end, text lost'],
  ['another reason', { finishReason: 'length' }, 'wrong end'],
  ['no reason', { finishReason: undefined }, 'wrong end'],
  ['no [DONE]', { isDone: false }, 'connection broken'],
  ['an error event', { text: ' a', failure: { kind: 'event', code: 'x', message: '' } }, 'told: error event'],
  [
    'an error status',
    { text: '', failure: { kind: 'status', code: 'x', message: '' } },
    'refused: error status',
  ],
  ['a reset', { text: ' a', failure: { kind: 'connection', code: 'x', message: '' } }, 'connection broken'],
  ['silence', { text: ' a', failure: { kind: 'hung', code: 'x', message: '' } }, 'hung'],
])('%s', (_, seen, outcome) => {
  expect(judge({ ...right, ...seen })).toBe(outcome);
});

test('where nobody knows the text, an end with a reason is right', () => {
  const unknown = { ...right, expected: undefined };
  expect(judge(unknown)).toBe('right');
  expect(judge({ ...unknown, finishReason: undefined })).toBe('wrong end');
});
