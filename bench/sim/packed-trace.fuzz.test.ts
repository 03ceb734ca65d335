/** Packing a trace loses nothing, and what is no packed trace is told. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { packTrace, unpackTrace } from './packed-trace.ts';
import type { TraceRequest } from './trace-request.ts';

/** Requests that each keep some blocks of an earlier one; ids are chained and numbered by first appearance. */
const requestsOf = (
  shapes: readonly { since: number; back: number; keep: number; added: number; output: number }[],
): readonly TraceRequest[] => {
  const requests: TraceRequest[] = [];
  let nextId = 0;
  let atMs = 0;
  for (const { since, back, keep, added, output } of shapes) {
    const earlier = requests[requests.length - 1 - back]?.blocks ?? [];
    const blocks = earlier.slice(0, keep);
    for (let made = 0; made < added; made += 1) blocks.push(nextId++);
    atMs += since;
    requests.push({ atMs, inputTokens: 16 * blocks.length + 1, outputTokens: output, blocks });
  }
  return requests;
};

const shape = fc.record({
  since: fc.nat(1000),
  back: fc.nat(5),
  keep: fc.nat(10),
  added: fc.nat(4),
  output: fc.integer({ min: 1, max: 50 }),
});

test('what was packed comes out again', () => {
  fc.assert(
    fc.property(fc.array(shape, { minLength: 1, maxLength: 40 }), (shapes) => {
      const requests = requestsOf(shapes);
      expect(unpackTrace(packTrace(requests))).toEqual(requests);
    }),
  );
});

test.each([
  ['1 2 3 0 0', /line 1: a packed request is 6 whole numbers/],
  ['1 2 3 0 0 x', /line 1/],
  ['0 10 1 0 0 2\n5 10 1 1 3 0', /line 2: no earlier request has 3 such blocks/],
])('%j is refused', (text, expected) => {
  expect(() => unpackTrace(text)).toThrow(expected);
});
