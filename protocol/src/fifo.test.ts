import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fifo } from './fifo.ts';

test('any use of it is that of an array', () => {
  const steps = fc.array(fc.constantFrom('push', 'push', 'push', 'shift', 'shift', 'clear'), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (taken) => {
      const [fifo, array] = [new Fifo<number>(), [] as number[]];
      for (const [at, step] of taken.entries()) {
        if (step === 'push') {
          fifo.push(at);
          array.push(at);
        } else if (step === 'shift') expect(fifo.shift()).toBe(array.shift());
        else {
          fifo.clear();
          array.length = 0;
        }
        expect([fifo.length, fifo.first]).toEqual([array.length, array[0]]);
      }
    }),
  );
});

test('what was taken is not moved again and again', () => {
  const fifo = new Fifo<number>();
  const slice = Array.prototype.slice;
  let moved = 0;
  Array.prototype.slice = function (...from: [number?, number?]): unknown[] {
    const rest = slice.apply(this, from);
    moved += rest.length;
    return rest;
  };
  try {
    for (let item = 0; item < 50_000; item += 1) fifo.push(item);
    while (fifo.length > 0) fifo.shift();
  } finally {
    Array.prototype.slice = slice;
  }
  expect(moved).toBeLessThanOrEqual(50_000);
});
