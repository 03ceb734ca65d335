import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openArena } from './arena.ts';

test('an arena is zeroed memory of its size, off the heap', () => {
  const before = process.memoryUsage().heapUsed;
  const { bytes } = openArena(64 * 2 ** 20);
  expect(bytes.length).toBe(64 * 2 ** 20);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 * 2 ** 20);
});

test.runIf(existsSync('/proc/self/fd'))(
  'another program of this user reads what was written, by the path alone',
  () => {
    const { bytes, path = '' } = openArena(1 << 20);
    bytes.write('here', 4096);
    const read = execFileSync('dd', [`if=${path}`, 'bs=4096', 'skip=1', 'count=1'], { stdio: 'pipe' });
    expect(read.subarray(0, 4).toString()).toBe('here');
    // And the other way: one memory, no copy.
    bytes.write('more', 4096);
    expect(readFileSync(path).subarray(4096, 4100).toString()).toBe('more');
  },
);
