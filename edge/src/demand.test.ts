import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { demandOf } from './demand.ts';

const headers = (priority?: string) => new Headers(priority ? { 'x-cognitora-priority': priority } : {});

test('a request costs its prompt, as its bytes let expect, and what its answer may take', () => {
  expect(demandOf('t', headers(), 4_000, 100)).toEqual({
    ...{ tenant: 't', priority: 5, tokens: 1_100, answerTokens: 100 },
  });
  expect(demandOf('t', headers(), 4_000).tokens).toBe(1_512);
  expect(demandOf('t', headers(), 4_000, 1e12).tokens).toBe(1_000 + 16_384);
});

test('a priority is a digit', () => {
  expect(demandOf('t', headers('0'), 1).priority).toBe(0);
  expect(demandOf('t', headers('9'), 1).priority).toBe(9);
  for (const text of ['10', '-1', 'high', '1.5']) {
    const error = errorOf(() => demandOf('t', headers(text), 1));
    expect([error?.code, error?.param]).toEqual(['invalid_request', 'x-cognitora-priority']);
  }
});
