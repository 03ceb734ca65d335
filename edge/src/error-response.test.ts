import { CognitoraError } from '@cognitora/protocol/errors';
import { afterEach, expect, test, vi } from 'vitest';
import { codeHeader, errorResponse } from './error-response.ts';

afterEach(() => vi.restoreAllMocks());

test('a row of the table is its status, its code and an OpenAI-shaped body', async () => {
  const answer = errorResponse(new CognitoraError('model_not_found', 'No such model.', { param: 'model' }));
  expect(answer.status).toBe(404);
  expect(answer.headers.get(codeHeader)).toBe('model_not_found');
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(answer.headers.has('retry-after')).toBe(false);
  expect(await answer.json()).toEqual({
    error: {
      message: 'No such model.',
      type: 'invalid_request_error',
      param: 'model',
      code: 'model_not_found',
    },
  });
});

test('a 503 says when to try again; what the thrower says of it counts', () => {
  expect(errorResponse(new CognitoraError('no_capacity', 'x')).headers.get('retry-after')).toBe('1');
  const later = new CognitoraError('no_capacity', 'x', { retryAfterSeconds: 5 });
  expect(errorResponse(later).headers.get('retry-after')).toBe('5');
});

test('a 401 names the scheme', () => {
  expect(errorResponse(new CognitoraError('missing_key', 'x')).headers.get('www-authenticate')).toBe(
    'Bearer',
  );
  expect(errorResponse(new CognitoraError('wrong_scope', 'x')).headers.has('www-authenticate')).toBe(false);
});

test.each([
  new Error('secret prompt'),
  'secret prompt',
  Object.assign(new Error('secret prompt'), { code: 'wrong_scope', status: 403 }),
])('what nobody foresaw is a 500 that keeps its text to itself and is logged', async (thrown) => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const answer = errorResponse(thrown);
  expect(answer.status).toBe(500);
  const body = await answer.text();
  expect(body).toContain('"code":"internal"');
  expect(body + JSON.stringify([...answer.headers])).not.toContain('secret');
  expect(log).toHaveBeenCalledOnce();
  expect(log.mock.calls[0]?.[0]).toContain('secret prompt');
});

test('an error of the table is not logged', () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  errorResponse(new CognitoraError('no_capacity', 'x'));
  expect(log).not.toHaveBeenCalled();
});
