import { expect, test } from 'vitest';
import { isNoAnswer, mediaTypeOf } from './response-head.ts';

const typed = (type: string) => isNoAnswer(200, mediaTypeOf({ 'content-type': type }));

test.each([
  'application/json',
  'Application/JSON; charset=utf-8',
  'text/event-stream;charset=UTF-8',
  'application/problem+json',
  'application/vnd.api+json',
  'application/x-ndjson',
  'application/jsonl',
  // What says nothing of what it is.
  'text/plain; charset=utf-8',
  'application/octet-stream',
  '',
])('an answer of the API may be called %j', (type) => {
  expect(typed(type)).toBe(false);
});

test.each([
  'text/html',
  'Text/HTML; charset=utf-8',
  'application/xhtml+xml',
  'text/xml',
  'image/png',
  'application/javascript',
  'application/jsonp',
  'nonsense',
])('%j is none', (type) => {
  expect(typed(type)).toBe(true);
});

test('an error is the engine’s own, whatever it is called, and a success without a type passes', () => {
  for (const status of [302, 404, 502]) expect(isNoAnswer(status, 'text/html')).toBe(false);
  expect([isNoAnswer(204, mediaTypeOf({})), isNoAnswer(299, 'text/html')]).toEqual([false, true]);
  expect(mediaTypeOf({ 'content-type': `a/${'x'.repeat(200)}` })).toHaveLength(100);
});
