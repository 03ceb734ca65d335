/** Properties of the queue: nobody is lost or taken twice, its order holds, and shares are those of the weights. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue, type Waiting } from './fair-queue.ts';

interface Numbered extends Waiting {
  readonly number: number;
}

const kind = fc.record({
  tenant: fc.constantFrom('a', 'b', 'c'),
  priority: fc.integer({ min: 0, max: 9 }),
  tokens: fc.integer({ min: 1, max: 40_000 }),
  isRetry: fc.boolean(),
});

const step = fc.oneof(
  fc.record({ do: fc.constant('push' as const), kind }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('remove' as const), at: fc.nat() }),
  fc.record({
    do: fc.constant('charge' as const),
    tenant: fc.constantFrom('a', 'b', 'c'),
    tokens: fc.integer({ min: -100_000, max: 100_000 }),
  }),
);

const weights: Readonly<Record<string, number>> = { a: 0.01, b: 1, c: 100 };

/** Whether the first goes before the other of the same tenant. */
const isBefore = (first: Numbered, other: Numbered): boolean =>
  first.priority - other.priority || Number(first.isRetry) - Number(other.isRetry)
    ? first.priority > other.priority || (first.priority === other.priority && first.isRetry)
    : first.number < other.number;

test('each one that waits is taken once, unless it left, and before all that come after it in its tenant', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = new FairQueue<Numbered>();
      const model = new Set<Numbered>();
      let number = 0;
      for (const one of steps) {
        if (one.do === 'push') {
          const ticket = { ...one.kind, number };
          number += 1;
          model.add(ticket);
          queue.push(ticket, weights[ticket.tenant] ?? 1);
        } else if (one.do === 'charge') queue.charge(one.tenant, one.tokens);
        else if (one.do === 'remove') {
          const ticket = [...model][one.at % Math.max(1, model.size)];
          if (ticket !== undefined)
            expect([queue.remove(ticket), queue.remove(ticket)]).toEqual([true, false]);
          if (ticket !== undefined) model.delete(ticket);
        } else {
          const taken = queue.take();
          expect(taken === undefined).toBe(model.size === 0);
          if (taken === undefined) continue;
          expect(model.delete(taken)).toBe(true);
          for (const other of model)
            if (other.tenant === taken.tenant) expect(isBefore(taken, other)).toBe(true);
        }
        expect(queue.size).toBe(model.size);
        expect(new Set(queue)).toEqual(model);
      }
    }),
  );
});

test('tenants that always wait get tokens by their weights, whatever the size of their requests', () => {
  const tenant = fc.record({
    weight: fc.constantFrom(0.5, 1, 2, 3),
    tokens: fc.integer({ min: 100, max: 4_000 }),
  });
  fc.assert(
    fc.property(fc.array(tenant, { minLength: 2, maxLength: 4 }), (tenants) => {
      const queue = new FairQueue<Numbered>();
      const push = (at: number): void => {
        const { weight = 1, tokens = 1 } = tenants[at] ?? {};
        queue.push({ tenant: `t${at}`, priority: 5, tokens, isRetry: false, number: at }, weight);
      };
      for (let at = 0; at < tenants.length; at += 1) {
        push(at);
        push(at);
      }
      const got = tenants.map(() => 0);
      let total = 0;
      while (total < 400_000) {
        const { number, tokens } = queue.take() ?? { number: -1, tokens: Number.NaN };
        got[number] = (got[number] ?? 0) + tokens;
        total += tokens;
        push(number);
      }
      const weightSum = tenants.reduce((sum, { weight }) => sum + weight, 0);
      for (const [at, { weight }] of tenants.entries()) {
        // A round and a request are what it may be off.
        const share = (total * weight) / weightSum;
        expect(Math.abs((got[at] ?? 0) - share)).toBeLessThan(0.1 * share + 16_000);
      }
    }),
  );
});
