import { expect, test } from 'vitest';
import { EventSlices, sliceBlocks } from './event-slices.ts';
import { TokenBlocks } from './token-blocks.ts';
import type { KvEvent } from './wire.ts';

const place = { medium: 'GPU', group: undefined };
const run = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
const names = run(3 * sliceBlocks - 7).map(String);
const tokens = run(2 * names.length);
const stored: KvEvent = {
  ...{ type: 'stored', names, parent: undefined, tokens, blockTokens: 2, isPlain: true, place },
};
const removed: KvEvent = { type: 'removed', names: names.slice(5), place };
const never = (): boolean => false;

/** How many blocks each call applied, and how often others ran between. */
const applied = async (...messages: (readonly KvEvent[])[]) => {
  const [blocks, slices] = [new TokenBlocks(), new EventSlices()];
  const calls: number[] = [];
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  const held: bigint[] = [];
  for (const events of messages) {
    const onEvents = (some: readonly KvEvent[]): void => {
      calls.push(some.reduce((sum, event) => sum + (event.type === 'cleared' ? 1 : event.names.length), 0));
      held.push(...blocks.apply(some).held);
    };
    await slices.apply(events, onEvents, never);
  }
  clearImmediate(counting);
  return { calls, turns, held, holds: held.filter((digest) => blocks.holds(digest)) };
};

test('an event of many blocks is applied a few at a time, and others run between', async () => {
  const { calls, turns, held } = await applied([stored]);
  expect(calls).toEqual([sliceBlocks, sliceBlocks, sliceBlocks - 7]);
  expect(turns).toBe(2);
  expect(held).toEqual(new TokenBlocks().apply([stored]).held);
});

test('as many of one block each, in several messages, are, too', async () => {
  const event: KvEvent = { type: 'removed', names: ['1'], place };
  const { calls, turns } = await applied(Array(700).fill(event), Array(700).fill(event));
  expect(calls).toEqual([512, 188, 324, 376]);
  expect(turns).toBe(2);
});

test('in order: what is removed after it was stored is gone', async () => {
  expect((await applied([stored, removed])).holds).toHaveLength(5);
  expect((await applied([stored, { type: 'cleared' }])).holds).toEqual([]);
});

test('what is left when the engine is another one does not count', async () => {
  const calls: number[] = [];
  await new EventSlices().apply(
    [stored],
    (events) => calls.push(events.length),
    () => true,
  );
  expect(calls).toHaveLength(1);
});
