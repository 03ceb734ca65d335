import { expect, test } from 'vitest';
import { memoryLeftIn } from './memory-left.ts';

const told =
  (files: Readonly<Record<string, string>>) =>
  (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
const meminfo = { '/proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:    2048 kB\n' };

test('what the host has left, or less where a container is bound', () => {
  expect(memoryLeftIn(told(meminfo))).toBe(2 ** 21);
  const bound = { '/sys/fs/cgroup/memory.max': '1000\n', '/sys/fs/cgroup/memory.current': '400\n' };
  expect(memoryLeftIn(told({ ...meminfo, ...bound }))).toBe(600);
  expect(memoryLeftIn(told({ ...meminfo, '/sys/fs/cgroup/memory.max': 'max\n' }))).toBe(2 ** 21);
  expect(memoryLeftIn(told({}))).toBeUndefined();
});
