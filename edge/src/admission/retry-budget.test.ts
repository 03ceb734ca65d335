import { retriesAtOnceMax } from '@cognitora/protocol/limits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

test('a node that dies with all its streams is retried at once, and then a fifth of what begins', () => {
  const budget = new RetryBudget();
  for (let count = 0; count < retriesAtOnceMax; count += 1) expect(budget.take()).toBe(true);
  expect(budget.take()).toBe(false);
  for (let count = 0; count < 4; count += 1) budget.first();
  expect(budget.take()).toBe(false);
  budget.first();
  expect(budget.take()).toBe(true);
  expect(budget.view).toEqual({ left: 0, refused: 2 });
});

test('never more than a fifth of the first ones and what is there at once', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 2_000 }), (isFirst) => {
      const budget = new RetryBudget();
      let [firsts, retries] = [0, 0];
      for (const first of isFirst) {
        if (first) budget.first();
        else if (budget.take()) retries += 1;
        firsts += Number(first);
        expect(retries).toBeLessThanOrEqual(retriesAtOnceMax + firsts / 5 + 1e-6);
      }
    }),
  );
});
