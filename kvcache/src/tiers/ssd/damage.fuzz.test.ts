import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openArena } from '../ram/arena.ts';
import { pageBytes, pagesOf, valueIn } from '../ram/extents.ts';
import { SsdTier } from './ssd-tier.ts';

/** Four segments of eight pages each: a record of a short value takes two. */
const bytesMax = 32 * 4096;
const keys = [...'abcdef'];

const opened = (directory: string) =>
  SsdTier.open({ directory, bytesMax, dirtyBytesMax: 2 ** 24, nowMs: () => 1_000 });

const write = async (tier: SsdTier, key: string, value: string): Promise<void> => {
  const pages = openArena(pagesOf(value.length) * pageBytes).bytes;
  valueIn(pages, value.length).write(value, 'latin1');
  const plain = { key, pages, length: value.length, expiresAtMs: undefined, isWanted: () => true };
  await new Promise((resolve) => tier.write({ ...plain, onDone: resolve }));
};

const read = async (tier: SsdTier, key: string): Promise<string | undefined> => {
  const place = tier.find(key);
  if (place === undefined) return undefined;
  const pages = openArena(pagesOf(place.length) * pageBytes).bytes;
  const outcome = await tier.read(key, place, pages);
  return outcome === 'read' ? valueIn(pages, place.length).toString('latin1') : undefined;
};

interface Step {
  readonly key: string;
  /** Undefined: it is deleted. */
  readonly bytes: number | undefined;
}

/** What each key has after each step, in the order of the steps. */
const statesOf = (steps: readonly Step[]): ReadonlyMap<string, string>[] => {
  const states: ReadonlyMap<string, string>[] = [new Map()];
  for (const [at, { key, bytes }] of steps.entries()) {
    const state = new Map(states.at(-1));
    if (bytes === undefined) state.delete(key);
    else state.set(key, `${key} ${at} `.padEnd(bytes, '.'));
    states.push(state);
  }
  return states;
};

/** Does the steps one by one, and tells how many segments' bytes there were after each. */
const lay = async (directory: string, steps: readonly Step[]): Promise<void> => {
  const tier = await opened(directory);
  const states = statesOf(steps);
  for (const [at, { key, bytes }] of steps.entries()) {
    if (bytes === undefined) tier.delete(key);
    else await write(tier, key, states[at + 1]?.get(key) ?? '');
    await tier.flush();
  }
  await tier.close();
};

const damaged = (path: string, share: number, bit: number | undefined): void => {
  const { size } = statSync(path);
  const at = Math.min(size - 1, Math.floor(share * size));
  if (bit === undefined) {
    truncateSync(path, at);
    return;
  }
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  writeFileSync(path, bytes);
};

const steps = fc.array(
  fc.record({
    key: fc.constantFrom(...keys),
    bytes: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 12, max: 9_000 }) },
      { weight: 1, arbitrary: fc.constant(undefined) },
    ),
  }),
  { minLength: 1, maxLength: 25 },
);
const unit = fc.nat({ max: 9_999 }).map((part) => part / 10_000);
const flip = fc.option(fc.nat({ max: 7 }), { nil: undefined, freq: 4 });

test('whatever bit is flipped and wherever a segment is cut, a key has its value or none', async () => {
  await fc.assert(
    fc.asyncProperty(steps, unit, unit, flip, async (todo, which, share, bit) => {
      const directory = mkdtempSync(join(tmpdir(), 'kv-damage-'));
      try {
        await lay(directory, todo);
        const files = readdirSync(directory).sort();
        const chosen = Math.min(files.length - 1, Math.floor(which * files.length));
        if (files.length === 0) return;
        damaged(join(directory, files[chosen] ?? ''), share, bit);
        const next = await opened(directory);
        const now = new Map<string, string>();
        for (const key of keys) {
          const value = await read(next, key);
          if (value !== undefined) now.set(key, value);
        }
        const states = statesOf(todo);
        const latest = states.at(-1);
        // The last file's end looks as a crash leaves it: what it had before that is right as well.
        const isTail = chosen === files.length - 1;
        const possible = isTail ? states : [latest];
        const isRight = possible.some((state) => [...now].every(([key, value]) => state?.get(key) === value));
        expect(isRight || [...now]).toBe(true);
        await next.close();
      } finally {
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 60 },
  );
});
