import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Queued, S3Fifo } from './s3-fifo.ts';

const queued = (key: string, bytes = 1): Queued => ({ key, bytes, place: undefined });
const anyone = (): boolean => true;

/** A cache of so many bytes that makes room as a tier does. */
const cacheOf = (bytesMax: number) => {
  const queue = new S3Fifo<Queued>(bytesMax);
  const held = new Map<string, Queued>();
  const ask = (key: string, bytes = 1): boolean => {
    const known = held.get(key);
    if (known !== undefined) {
      queue.touch(known);
      return true;
    }
    while (queue.bytes + bytes > bytesMax) held.delete(queue.evict(anyone)?.key ?? '');
    const value = queued(key, bytes);
    queue.insert(value);
    held.set(key, value);
    return false;
  };
  return { queue, held, ask };
};

test('values that are asked for again outlive a scan of many that are not', () => {
  const { held, ask } = cacheOf(100);
  const hot = Array.from({ length: 50 }, (_, index) => `hot ${index}`);
  for (const key of [...hot, ...hot]) ask(key);
  for (let index = 0; index < 1000; index += 1) ask(`scan ${index}`);
  expect(hot.filter((key) => held.has(key))).toEqual(hot);
});

test('a value that comes back soon after it went stays through the next scan', () => {
  const { held, ask } = cacheOf(100);
  for (let index = 0; index < 100; index += 1) ask(`first ${index}`);
  for (let index = 0; index < 50; index += 1) ask(`second ${index}`);
  expect(held.has('first 0')).toBe(false);
  ask('first 0');
  for (let index = 0; index < 90; index += 1) ask(`third ${index}`);
  expect(held.has('first 0')).toBe(true);
});

test('a value that may not go is passed by, and none is given when none may', () => {
  const queue = new S3Fifo<Queued>(10);
  for (const key of 'abc') queue.insert(queued(key));
  expect(queue.evict(({ key }) => key === 'c')?.key).toBe('c');
  expect(queue.evict(() => false)).toBeUndefined();
  expect(queue.bytes).toBe(2);
});

test('bytes are those of what is held, whatever comes, goes and is taken out', () => {
  const keys = fc.constantFrom(...'abcdefghij');
  const steps = fc.array(
    fc.oneof(
      fc.record({ ask: keys, bytes: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ remove: keys }),
      fc.record({ evict: fc.boolean() }),
    ),
  );
  fc.assert(
    fc.property(steps, (todo) => {
      const { queue, held, ask } = cacheOf(20);
      for (const step of todo) {
        if ('ask' in step) ask(step.ask, step.bytes);
        else if ('remove' in step) {
          const value = held.get(step.remove);
          if (value !== undefined) queue.remove(value);
          held.delete(step.remove);
        } else held.delete(queue.evict(() => step.evict)?.key ?? '');
        expect(queue.bytes).toBe([...held.values()].reduce((sum, { bytes }) => sum + bytes, 0));
        expect(queue.bytes).toBeLessThanOrEqual(20);
      }
    }),
  );
});
