import fc from 'fast-check';
import { expect, test } from 'vitest';
import { behindBytes, pageBytes, valueAt } from './extents.ts';
import { RamTier, type RamValue } from './ram-tier.ts';

const put = (tier: RamTier, key: string, bytes: Uint8Array): boolean => {
  const value = tier.reserve(key, bytes.length);
  if (value === undefined) return false;
  tier.bytesOf(value).set(bytes);
  tier.publish(value);
  return true;
};

const read = (tier: RamTier, key: string): string | undefined => {
  const value = tier.get(key, 0);
  return value === undefined ? undefined : tier.bytesOf(value).toString();
};

const tierOf = (pages: number) => {
  const gone: string[] = [];
  const tier = new RamTier({ bytesMax: pages * pageBytes, onGone: ({ key }) => gone.push(key) });
  return { tier, gone };
};

/** A value of exactly so many pages. */
const fitting = (pages: number): Buffer => Buffer.alloc(pages * pageBytes - valueAt - behindBytes);

test('a value is seen once it is whole, and not when it was given up', () => {
  const { tier } = tierOf(4);
  const value = tier.reserve('a', 3) as RamValue;
  expect(read(tier, 'a')).toBeUndefined();
  tier.bytesOf(value).set(Buffer.from('abc'));
  tier.publish(value);
  expect(read(tier, 'a')).toBe('abc');
  tier.abandon(tier.reserve('b', 3) as RamValue);
  expect(read(tier, 'b')).toBeUndefined();
  expect(tier.counts.bytes).toBe(pageBytes);
});

test('who holds a value reads its bytes to the end, whatever becomes of its key', () => {
  const { tier } = tierOf(3);
  put(tier, 'a', Buffer.from('old'));
  const old = tier.get('a', 0) as RamValue;
  tier.hold(old);
  put(tier, 'a', Buffer.from('new'));
  expect(tier.bytesOf(old).toString()).toBe('old');
  tier.delete('a');
  // The third page is free, the held one is not.
  expect(put(tier, 'b', fitting(2))).toBe(true);
  expect(put(tier, 'c', fitting(3))).toBe(false);
  expect(tier.bytesOf(old).toString()).toBe('old');
  tier.release(old);
  expect(put(tier, 'c', fitting(3))).toBe(true);
});

test('what is pinned or read does not go; room that only they have is refused', () => {
  const { tier, gone } = tierOf(3);
  for (const key of 'abc') put(tier, key, Buffer.from(key));
  const [a, b, c] = [...'abc'].map((key) => tier.get(key, 0) as RamValue);
  tier.pin(a as RamValue, true);
  tier.hold(b as RamValue);
  tier.hold(c as RamValue);
  expect(put(tier, 'd', Buffer.from('d'))).toBe(false);
  expect(tier.counts).toMatchObject({ values: 3, pinnedBytes: pageBytes, evictions: 0 });
  tier.release(c as RamValue);
  expect(put(tier, 'd', Buffer.from('d'))).toBe(true);
  expect(gone).toEqual(['c']);
});

test('long keys are charged: what they take of the heap is an eighth of the budget at most', () => {
  const { tier, gone } = tierOf(64);
  const nameOf = (index: number): string => String(index).padStart(2_000, 'k');
  for (let index = 0; index < 64; index += 1) {
    expect(put(tier, nameOf(index), Buffer.from('x'))).toBe(true);
    expect(tier.counts.values * 2_000).toBeLessThanOrEqual((64 * pageBytes) / 8);
    expect(tier.counts.bytes).toBeLessThanOrEqual(64 * pageBytes);
  }
  expect(tier.counts.values + gone.length).toBe(64);
  expect(tier.counts.values).toBeGreaterThan(10);
  for (const key of [...tier.keys()]) tier.delete(key);
  expect(tier.counts.bytes).toBe(0);
});

test('a value whose time is over is gone when it is asked for', () => {
  const { tier, gone } = tierOf(2);
  put(tier, 'a', Buffer.from('a'));
  (tier.get('a', 0) as RamValue).expiresAtMs = 10;
  expect(tier.get('a', 9)).toBeDefined();
  expect(tier.get('a', 10)).toBeUndefined();
  expect(gone).toEqual(['a']);
  expect(tier.counts).toMatchObject({ values: 0, bytes: 0 });
});

test('a budget beyond one arena is spread over several, and values lie in any of them', () => {
  const tier = new RamTier({ bytesMax: 2 ** 30 + 64 * pageBytes });
  expect(tier.paths).toHaveLength(2);
  const large = tier.reserve('large', fitting(2 ** 18).length) as RamValue;
  expect(put(tier, 'small', Buffer.from('here'))).toBe(true);
  expect(tier.get('small', 0)?.arena).not.toBe(large.arena);
  expect(read(tier, 'small')).toBe('here');
});

const keys = fc.constantFrom(...'abcdefgh');
const steps = fc.array(
  fc.oneof(
    fc.record({ put: keys, pages: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ get: keys }),
    fc.record({ delete: keys }),
    fc.record({ pin: keys, isPinned: fc.boolean() }),
    fc.record({ hold: keys }),
    fc.record({ release: fc.nat() }),
  ),
  { maxLength: 200 },
);

test('no answer is ever wrong, and memory stays in its budget, over any operations', () => {
  let stamp = 0;
  fc.assert(
    fc.property(steps, (todo) => {
      const { tier } = tierOf(16);
      const latest = new Map<string, string>();
      const held: { value: RamValue; text: string }[] = [];
      for (const step of todo) {
        if ('put' in step) {
          stamp += 1;
          const text = `${step.put} ${stamp}`;
          const bytes = fitting(step.pages);
          bytes.write(text);
          if (put(tier, step.put, bytes)) latest.set(step.put, text);
        } else if ('get' in step) {
          const text = read(tier, step.get);
          if (text !== undefined) expect(text.startsWith(latest.get(step.get) ?? 'nothing')).toBe(true);
        } else if ('delete' in step) {
          tier.delete(step.delete);
          expect(read(tier, step.delete)).toBeUndefined();
        } else if ('pin' in step) {
          const value = tier.peek(step.pin, 0);
          if (value !== undefined) tier.pin(value, step.isPinned);
        } else if ('hold' in step) {
          const value = tier.peek(step.hold, 0);
          if (value === undefined) continue;
          tier.hold(value);
          held.push({ value, text: tier.bytesOf(value).subarray(0, 20).toString() });
        } else if (held.length > 0) {
          const [one] = held.splice(step.release % held.length, 1);
          if (one !== undefined) tier.release(one.value);
        }
        for (const { value, text } of held) {
          expect(tier.bytesOf(value).subarray(0, 20).toString()).toBe(text);
        }
        expect(tier.counts.bytes).toBeLessThanOrEqual(16 * pageBytes);
      }
      for (const { value } of held) tier.release(value);
      for (const key of [...tier.keys()]) tier.delete(key);
      expect(tier.counts).toMatchObject({ values: 0, bytes: 0, pinnedBytes: 0 });
      expect(put(tier, 'all', fitting(16))).toBe(true);
    }),
    { numRuns: 60 },
  );
});
