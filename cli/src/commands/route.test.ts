import { expect, test } from 'vitest';
import { type ReceiptAnswer, receiptReport } from './route.ts';

const candidate = { trust: 'exact', cost: 12.5, cachedTokens: 512, live: 1, waitMs: 3.4, prefillMs: 9 };
const receipt: ReceiptAnswer = {
  ...{ requestId: 'req_1', region: 'weur', model: 'm', decidedAtMs: 0, policy: 'predicted-latency' },
  ...{ node: 'n1', replica: 'r0', trust: 'exact', promptTokens: 600, expectedTokens: 512, candidates: 2 },
  considered: [
    { ...candidate, node: 'n1', replica: 'r0' },
    { ...candidate, node: 'n2', replica: 'r0', cost: 80, cachedTokens: 0 },
  ],
};

test('a receipt shows the chosen one first, each cost, and that the request still runs', () => {
  const lines = receiptReport(receipt, 60_000).split('\n');
  expect(lines[0]).toBe('req_1  m, region weur, 60 s ago');
  expect(lines.find((line) => line.startsWith('*'))).toMatch(/n1 +r0 +12.5 +512 +exact/);
  expect(lines.at(-1)).toBe('It is still running.');
});

test('the end tells what the engine reported', () => {
  const usage = { promptTokens: 590, cachedTokens: 500 };
  const record = { totalMs: 80, firstByteMs: 12, usage };
  expect(receiptReport({ ...receipt, ended: { record } }, 0)).toContain(
    '590 prompt tokens, 500 cached; first byte after 12 ms; over after 80 ms.',
  );
  expect(receiptReport({ ...receipt, ended: {} }, 0)).toContain('before its agent could say how');
});
