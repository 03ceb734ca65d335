import { describe, expect, test } from 'vitest';
import {
  CognitoraError,
  type ErrorCode,
  errorTable,
  isErrorCode,
  openAiErrorJson,
  toCognitoraError,
} from './errors.ts';

const rows = Object.entries(errorTable) as [ErrorCode, (typeof errorTable)[ErrorCode]][];

describe.each(rows)('%s', (code, row) => {
  test('has a status that fits its fault, and a retry only where another replica may do better', () => {
    expect(row.status).toBeGreaterThanOrEqual(400);
    expect(row.status).toBeLessThan(600);
    if (row.fault === 'client') expect(row.status).toBeLessThan(500);
    if (row.fault === 'engine' || row.fault === 'edge') expect(row.status).toBeGreaterThanOrEqual(500);
    if (row.retryable) expect(row.status).toBeGreaterThanOrEqual(500);
  });

  test('has an OpenAI error type that fits its status', () => {
    const types =
      row.status >= 500
        ? ['server_error']
        : ['invalid_request_error', 'authentication_error', 'permission_error', 'rate_limit_error'];
    expect(types).toContain(row.type);
  });

  test('makes an OpenAI error body', () => {
    const error = new CognitoraError(code, 'Do "this".', { param: 'model', retryAfterSeconds: 3 });
    expect(JSON.parse(openAiErrorJson(error))).toEqual({
      error: { message: 'Do "this".', type: row.type, param: 'model', code },
    });
    expect(error.retryAfterSeconds).toBe(3);
  });
});

test('an error body without a parameter says null, as OpenAI does', () => {
  expect(JSON.parse(openAiErrorJson(new CognitoraError('internal', 'x'))).error.param).toBeNull();
});

test('only rows of the table are codes', () => {
  for (const [code] of rows) expect(isErrorCode(code)).toBe(true);
  for (const other of ['', 'toString', '__proto__', 'constructor', 'Internal'])
    expect(isErrorCode(other)).toBe(false);
});

test('what was not foreseen becomes internal and keeps its text to itself', () => {
  const foreseen = new CognitoraError('no_capacity', 'later');
  expect(toCognitoraError(foreseen)).toBe(foreseen);
  for (const thrown of [new Error('secret'), 'secret', undefined, { code: 'no_capacity' }]) {
    const error = toCognitoraError(thrown);
    expect(error.code).toBe('internal');
    expect(error.message).not.toContain('secret');
  }
});
