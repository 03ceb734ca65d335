import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ReplayBuffer, ReplayMemory } from './replay-buffer.ts';

/** A byte of the body tells its place. */
const pattern = Uint8Array.from({ length: 1_000_000 }, (_, at) => at * 31 + (at >> 8));
const stretch = (from: number, bytes: number): Uint8Array => pattern.subarray(from, from + bytes);
const isStretch = (bytes: Uint8Array, from: number): boolean =>
  Buffer.compare(bytes, stretch(from, bytes.length)) === 0;

const act = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({ ring: fc.nat(4), push: fc.constantFrom(0, 1, 7, 600, 1024, 3000, 20_000) }),
  },
  { weight: 1, arbitrary: fc.record({ ring: fc.nat(4), drop: fc.constant(true) }) },
);

test('what is kept is what was pushed, up to its end, and all rings stay within the bound of their host', () => {
  let shrunk = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(0, 1024, 10_000, 20_000, 40_000, 1_000_000),
      fc.array(act, { minLength: 5, maxLength: 40, size: 'max' }),
      (bound, acts) => {
        const memory = new ReplayMemory(bound);
        const rings = Array.from({ length: 5 }, () => new ReplayBuffer(memory, 16_384));
        for (const one of acts) {
          const ring = rings[one.ring] as ReplayBuffer;
          const before = rings.map(({ capacity }) => capacity);
          if ('push' in one) ring.push(stretch(ring.end, one.push));
          else ring.drop();
          shrunk += rings.filter((other, at) => other !== ring && other.capacity < (before[at] ?? 0)).length;
          expect(memory.bytes).toBe(rings.reduce((sum, { capacity }) => sum + capacity, 0));
          expect(memory.bytes).toBeLessThanOrEqual(bound);
          for (const { bytes, start } of rings.map(keptOf)) expect(isStretch(bytes, start)).toBe(true);
        }
      },
    ),
  );
  expect(shrunk).toBeGreaterThan(10);
});

/** All that a ring keeps, and where it starts. */
const keptOf = (ring: ReplayBuffer): { readonly bytes: Uint8Array; readonly start: number } => {
  let start = Math.max(0, ring.end - ring.capacity);
  while (!ring.has(start)) start += 1;
  expect(ring.has(ring.end + 1)).toBe(false);
  return { bytes: ring.from(start), start };
};

test('with room enough the last bytes are kept up to its bound, and no more', () => {
  const ring = new ReplayBuffer(new ReplayMemory(1_000_000), 4096);
  for (let at = 0; at < 10_000; at += 100) ring.push(stretch(at, 100));
  expect(ring.capacity).toBe(4096);
  expect(ring.from(10_000 - 4096)).toEqual(stretch(10_000 - 4096, 4096));
  expect(ring.has(10_000 - 4097)).toBe(false);
  expect(ring.from(10_000)).toEqual(new Uint8Array());
});

test('who needs room takes it from those who keep more, never from those who keep less', () => {
  const memory = new ReplayMemory(8192);
  const [large, small, late] = [1, 2, 3].map(() => new ReplayBuffer(memory, 8192)) as ReplayBuffer[];
  large?.push(stretch(0, 8192));
  small?.push(stretch(0, 1000));
  late?.push(stretch(0, 4096));
  expect([large, small, late].map((ring) => ring?.capacity)).toEqual([4096, 1024, 2048]);
  large?.push(stretch(8192, 1));
  expect(large?.capacity).toBe(4096);
  large?.drop();
  late?.push(stretch(4096, 4096));
  expect([large, small, late].map((ring) => ring?.capacity)).toEqual([0, 1024, 4096]);
  expect(late?.from(4096)).toEqual(stretch(4096, 4096));
});
