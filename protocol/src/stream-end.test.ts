import { expect, test } from 'vitest';
import { utf8 } from './bytes.ts';
import { StreamEnd } from './stream-end.ts';
import { endsChoice } from './volunteered.ts';

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const word = event({ choices: [{ delta: { content: 'a' }, finish_reason: null }] });

const seen = (events: readonly string[]): StreamEnd => {
  const end = new StreamEnd();
  for (const bytes of events.map(utf8)) end.see(bytes, endsChoice(bytes));
  return end;
};

test.each([
  ['nothing', []],
  ['a comment', [': wait\n\n']],
  ['words', [word, word]],
  ['a word [DONE]', [event({ choices: [{ text: '[DONE]' }] })]],
  ['a word that looks like an end', [event({ choices: [{ text: '"finish_reason":"stop"' }] })]],
  ['a comment that says [DONE]', [word, ': [DONE]\n\n']],
  ['an empty finish reason', [event({ choices: [{ delta: { content: 'a' }, finish_reason: '' }] })]],
  ['choices behind something else', [event({ object: 'begin' }), word]],
])('of %s the end is missing', (_, events) => {
  expect(seen(events).isMissing).toBe(true);
});

test.each([
  ['[DONE]', [word, 'data: [DONE]\n\n']],
  ['[DONE] without a space, with a name', [word, 'event: end\ndata:[DONE]\n\n']],
  ['a finish reason', [word, event({ choices: [{ delta: {}, finish_reason: 'stop' }] })]],
  ['a mistake of the client', [word, event({ error: { code: 400, message: 'no' } })]],
  ['something else than choices', [event({ type: 'response.created' })]],
])('with %s it is not', (_, events) => {
  expect(seen(events).isMissing).toBe(false);
});

test('an event that nobody can read may have been the end', () => {
  const end = seen([word]);
  end.skip();
  expect(end.isMissing).toBe(false);
});

test.each([
  [{ error: { message: 'dead' } }, 'dead'],
  [{ error: { message: 'dead', code: 'internal_error', type: 'server_error' } }, 'dead'],
  [{ error: { message: 'dead', code: '500' } }, 'dead'],
  [{ error: { code: 503 } }, ''],
  [{ error: { message: 'too many', code: 429 } }, 'too many'],
  [{ error: { message: 'late', code: '408' } }, 'late'],
  [{ error: { message: 'dead', code: 500, type: 'invalid_request_error' } }, 'dead'],
  [{ error: 'dead' }, 'dead'],
  [{ object: 'error', message: 'dead', code: 500 }, 'dead'],
  [{ choices: [], error: { message: 'dead' } }, 'dead'],
  [{ error: { message: 'no', code: 400 } }, undefined],
  [{ error: { message: 'no', code: '499' } }, undefined],
  [{ error: { message: 'no', code: 'invalid_request_error' } }, undefined],
  [{ error: { message: 'no', code: null, type: 'invalid_request_error' } }, undefined],
  [{ object: 'error', message: 'no', code: 404 }, undefined],
  [{ choices: [], error: null }, undefined],
  [{ choices: [], error: '' }, undefined],
  [{ choices: [{ text: '{"error":{"code":500}}' }] }, undefined],
  [{ choices: [{ text: '', finish_reason: 'error' }] }, undefined],
])('%j is the failure %j', (said, failure) => {
  expect(seen([event(said)]).failure).toBe(failure);
});

test('the first failure counts', () => {
  expect(seen([event({ error: 'first' }), event({ error: 'second' })]).failure).toBe('first');
});
