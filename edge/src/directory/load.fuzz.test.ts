/** The derived load of a replica against a plain list of its requests, over random operations. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ReplicaLoad, type Reservation } from './load.ts';

interface Request {
  readonly id: number;
  readonly bookedAtMs: number;
  readonly contextTokens: number;
  readonly uncachedTokens: number;
  readonly prefillMs: number;
  readonly lateAfterMs: number;
  isDecoding: boolean;
  decodingBeside: number;
}

const operation = fc.oneof(
  fc.record({
    kind: fc.constant('book' as const),
    contextTokens: fc.nat(50_000),
    uncachedTokens: fc.nat(50_000),
    prefillMs: fc.nat(5000),
    graceMs: fc.nat(2000),
  }),
  fc.record({ kind: fc.constant('firstByte' as const), of: fc.nat(40) }),
  fc.record({ kind: fc.constant('release' as const), of: fc.nat(40) }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(3000) }),
);

const sumOf = (requests: readonly Request[], of: (request: Request) => number): number =>
  requests.reduce((sum, request) => sum + of(request), 0);

/** A queue of one server whose head has been served since it came or since the last first byte. */
const waitMsOf = (requests: readonly Request[], turnedAtMs: number, nowMs: number): number => {
  const waiting = requests.filter(({ isDecoding }) => !isDecoding);
  const head = waiting.toSorted((left, right) => left.bookedAtMs - right.bookedAtMs)[0];
  if (head === undefined) return 0;
  const servedMs = Math.max(0, nowMs - Math.max(head.bookedAtMs, turnedAtMs));
  const leftMs = Math.max(0, head.prefillMs - servedMs);
  const lateMs = Math.max(0, servedMs - head.lateAfterMs);
  return sumOf(waiting, ({ prefillMs }) => prefillMs) - head.prefillMs + leftMs + lateMs;
};

test('it is what its live requests add up to, whatever happened before', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const load = new ReplicaLoad();
      let model: Request[] = [];
      let ids = 0;
      let nowMs = 0;
      let turnedAtMs = Number.NEGATIVE_INFINITY;
      for (const each of operations) {
        if (each.kind === 'wait') nowMs += each.ms;
        else if (each.kind === 'book') {
          const { contextTokens, uncachedTokens, prefillMs, graceMs } = each;
          const lateAfterMs = prefillMs + graceMs;
          ids += 1;
          const request = { contextTokens, uncachedTokens, prefillMs, lateAfterMs, bookedAtMs: nowMs };
          load.book(ids as Reservation, { ...request, firstByteAtMs: undefined, decodingBeside: 0 });
          model.push({ ...request, id: ids, isDecoding: false, decodingBeside: 0 });
        } else if (each.kind === 'release') {
          const known = model.find(({ id }) => id === each.of);
          const released = load.release(each.of as Reservation);
          expect(released?.contextTokens).toBe(known?.contextTokens);
          expect(released?.decodingBeside).toBe(known?.decodingBeside);
          model = model.filter(({ id }) => id !== each.of);
        } else {
          const known = model.find(({ id }) => id === each.of);
          const isFirst = known !== undefined && !known.isDecoding;
          const tookMs = isFirst ? nowMs - Math.max(known.bookedAtMs, turnedAtMs) : undefined;
          const beside = model.filter(({ isDecoding }) => isDecoding).length;
          expect(load.firstByte(each.of as Reservation, nowMs)).toBe(tookMs);
          if (isFirst) {
            known.decodingBeside = beside;
            known.isDecoding = true;
            turnedAtMs = nowMs;
          }
        }
        const decoding = model.filter(({ isDecoding }) => isDecoding);
        const waiting = model.filter(({ isDecoding }) => !isDecoding);
        expect([...load.reservations]).toEqual(model.map(({ id }) => id));
        expect({
          live: load.live,
          decoding: load.decoding,
          decodingTokens: load.decodingTokens,
          waitingTokens: load.waitingTokens,
          waitMs: load.waitMs(nowMs),
        }).toEqual({
          live: model.length,
          decoding: decoding.length,
          decodingTokens: sumOf(decoding, ({ contextTokens }) => contextTokens),
          waitingTokens: sumOf(waiting, ({ uncachedTokens }) => uncachedTokens),
          waitMs: waitMsOf(model, turnedAtMs, nowMs),
        });
      }
    }),
  );
});
