/** Whatever happens in whatever order: each ticket ends once, bounds hold, and nobody waits while there is room. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Reservation } from '../directory/load.ts';
import { Admission, type Ask, type Ticket } from './admission.ts';

const [queueMax, queueMsMax, tenantMax] = [6, 3_000, 5];

const name = fc.constantFrom('a', 'b', 'c');
const step = fc.oneof(
  fc.record({
    do: fc.constant('enter' as const),
    tenant: name,
    priority: fc.integer({ min: 0, max: 9 }),
    tokens: fc.integer({ min: 1, max: 30_000 }),
    isRetry: fc.boolean(),
    remainingMs: fc.integer({ min: 0, max: 5_000 }),
    answerTokens: fc.constantFrom(0, 1),
    awaitsNodes: fc.boolean(),
  }),
  fc.record({ do: fc.constant('end' as const), at: fc.nat(), tokens: fc.option(fc.nat(60_000)) }),
  fc.record({ do: fc.constant('firstByte' as const), at: fc.nat() }),
  fc.record({ do: fc.constant('leave' as const), at: fc.nat() }),
  fc.record({ do: fc.constant('seats' as const), seats: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: -2_000, max: 2_000 }) }),
);

test('each ticket ends once; bounds hold; who could go does', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      let [seats, nowMs, next] = [2, 0, 1];
      const live: Reservation[] = [];
      const ended = new Map<Ask, number>();
      const open = new Map<Ask, Ticket>();
      const admission = new Admission({ roomOf: () => (live.length < seats ? 'room' : 'full') });
      admission.useModel('m', { queueMax, queueMsMax });
      for (const tenant of ['a', 'b']) admission.useTenant(tenant, { concurrency: tenantMax, weight: 2 });
      const over = (ask: Ask): void => {
        ended.set(ask, (ended.get(ask) ?? 0) + 1);
        open.delete(ask);
      };
      const book = (ask: Ask): void => {
        live.push(next as Reservation);
        admission.booked(next as Reservation, ask);
        next += 1;
      };
      const enter = (ask: Ask): void => {
        const granted = (): void => {
          expect(live.length).toBeLessThan(seats);
          over(ask);
          book(ask);
        };
        try {
          const ticket = admission.enter(ask, { granted, refused: () => over(ask) }, nowMs);
          if (ticket !== undefined) open.set(ask, ticket);
          else book(ask);
        } catch {
          over(ask);
        }
      };
      const pick = <Item>(items: readonly Item[], at: number): Item | undefined => items[at % items.length];
      for (const one of steps) {
        if (one.do === 'enter') enter({ model: 'm', ...one });
        else if (one.do === 'seats') seats = one.seats;
        else if (one.do === 'pass') nowMs += one.ms;
        else if (one.do === 'leave') {
          const [ask, ticket] = pick([...open], one.at) ?? [];
          if (ask !== undefined && ticket !== undefined) {
            admission.leave(ticket);
            over(ask);
          }
        } else {
          const reservation = pick(live, one.at);
          if (reservation !== undefined && one.do === 'firstByte') admission.firstByte(reservation, nowMs);
          else if (reservation !== undefined && one.do === 'end') {
            live.splice(live.indexOf(reservation), 1);
            admission.over(reservation, nowMs, { promptTokens: one.tokens ?? undefined });
          }
        }
        admission.look(nowMs);
        const [view] = admission.view.models;
        const waiting = view?.waiting ?? 0;
        expect([waiting, view?.live ?? 0]).toEqual([open.size, live.length]);
        const fresh = [...open.keys()].filter(({ isRetry }) => !isRetry);
        expect(fresh.length).toBeLessThanOrEqual(queueMax);
        if (waiting > 0) expect(live.length).toBeGreaterThanOrEqual(seats);
        expect([...ended.values()].every((times) => times === 1)).toBe(true);
      }
      seats = 0;
      for (let look = 0; look * 1_000 < queueMsMax; look += 1) {
        nowMs += 1_000;
        admission.look(nowMs);
      }
      expect(open.size).toBe(0);
      expect([...ended.values()].every((times) => times === 1)).toBe(true);
    }),
  );
});
