import { utf8 } from '@cognitora/protocol/bytes';
import { Splicer } from '@cognitora/protocol/edits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestFeed } from './request-feed.ts';

const feeding = (splices: ConstructorParameters<typeof Splicer>[0] = [], isHeld = false) => {
  const bodies: (Buffer | AsyncIterable<Buffer>)[] = [];
  const credit = { consumed: 0 };
  const feed = new RequestFeed({
    splicer: new Splicer(splices),
    bytes: 0,
    isHeld,
    onWhole: (body) => bodies.push(body),
    onConsumed: (bytes) => {
      credit.consumed += bytes;
    },
  });
  const pieces = (): AsyncIterator<Buffer> => {
    const body = bodies[0];
    if (body === undefined || Buffer.isBuffer(body)) throw new Error('no pieces');
    return body[Symbol.asyncIterator]();
  };
  return { feed, bodies, credit, pieces };
};

const hello = [{ at: 0, removeBytes: 1, insert: utf8('<') }];

test('a body that comes in one piece is handed on whole, with its edits', () => {
  const { feed, bodies, credit } = feeding(hello);
  feed.push(utf8('{"a":1}'), true);
  expect(bodies.map(String)).toEqual(['<"a":1}']);
  expect(credit.consumed).toBe(7);
});

test('a longer body is handed on as it comes; a piece is consumed when the next is asked for', async () => {
  const { feed, bodies, credit, pieces } = feeding(hello);
  feed.push(utf8('{abc'), false);
  expect(bodies).toHaveLength(1);
  const iterator = pieces();
  expect(String((await iterator.next()).value)).toBe('<abc');
  expect(credit.consumed).toBe(0);
  const waits = iterator.next();
  feed.push(utf8('def'), false);
  expect(String((await waits).value)).toBe('def');
  expect(credit.consumed).toBe(4);
  feed.push(utf8('g'), true);
  expect(String((await iterator.next()).value)).toBe('g');
  expect((await iterator.next()).done).toBe(true);
  expect(credit.consumed).toBe(8);
});

test('an end without bytes ends the pieces', async () => {
  const { feed, credit, pieces } = feeding();
  feed.push(utf8('ab'), false);
  const iterator = pieces();
  await iterator.next();
  const waits = iterator.next();
  feed.push(new Uint8Array(), true);
  expect((await waits).done).toBe(true);
  expect(credit.consumed).toBe(2);
});

test('dropping gives back what waits and what is being taken, and ends the pieces', async () => {
  const { feed, credit, pieces } = feeding();
  feed.push(utf8('abc'), false);
  feed.push(utf8('de'), false);
  const iterator = pieces();
  await iterator.next();
  feed.drop();
  expect(credit.consumed).toBe(5);
  feed.drop();
  expect((await iterator.next()).done).toBe(true);
  expect(credit.consumed).toBe(5);
});

test('in every order of pieces, reads and a drop each byte is consumed exactly once', async () => {
  const step = fc.constantFrom('push', 'push', 'read', 'read', 'leave', 'drop');
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 20 }),
      fc.array(fc.nat(5), { maxLength: 20 }),
      async (steps, sizes) => {
        const { feed, bodies, credit, pieces } = feeding(hello);
        let pushed = 0;
        let ended = false;
        let iterator: AsyncIterator<Buffer> | undefined;
        for (const [index, next] of steps.entries()) {
          if (next === 'push' && !ended) {
            const size = sizes[index] ?? 0;
            pushed += size;
            ended = index > 15;
            feed.push(new Uint8Array(size), ended);
          } else if (next === 'drop') {
            ended = true;
            feed.drop();
          } else if (bodies[0] !== undefined && !Buffer.isBuffer(bodies[0])) {
            iterator ??= pieces();
            if (next === 'leave') void iterator.return?.();
            else void iterator.next();
            for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
          }
          expect(credit.consumed).toBeLessThanOrEqual(pushed);
        }
        feed.drop();
        expect(credit.consumed).toBe(pushed);
      },
    ),
    { numRuns: 300 },
  );
});

test('the credit of a body that is held back comes back at once, and once', async () => {
  const { feed, credit, pieces } = feeding([], true);
  feed.push(utf8('abc'), false);
  expect(credit.consumed).toBe(3);
  const iterator = pieces();
  feed.push(utf8('def'), true);
  expect(credit.consumed).toBe(6);
  for (const piece of ['abc', 'def']) expect(String((await iterator.next()).value)).toBe(piece);
  expect((await iterator.next()).done).toBe(true);
  feed.drop();
  expect(credit.consumed).toBe(6);
});
