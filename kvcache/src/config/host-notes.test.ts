import { expect, test } from 'vitest';
import { type HostRoom, hostNotes } from './host-notes.ts';
import { parseOptions } from './parse.ts';

const optionsOf = (...argv: readonly string[]) => {
  const parsed = parseOptions(argv, {}, '/nonexistent/kvcached.toml');
  if (parsed === 'help') throw new Error('help');
  return parsed.options;
};

const host = (more: Partial<HostRoom>): HostRoom => ({
  memoryLeft: () => 23 * 2 ** 30,
  diskLeft: () => 2 ** 40,
  isThere: () => true,
  ...more,
});

test('sizes that the host does not have are told, and those that it has are not', () => {
  expect(hostNotes(optionsOf('--ram', '40GiB', '--disk', '2TiB'), host({}))).toEqual([
    expect.stringMatching(/^ram is 40GiB, and this host has 23\.0GiB left/),
    expect.stringMatching(/^disk is 2TiB, and the file system of .* has 1024\.0GiB for it/),
  ]);
  expect(hostNotes(optionsOf('--ram', '20GiB'), host({}))).toEqual([]);
  const unknown = host({ memoryLeft: () => undefined, diskLeft: () => undefined });
  expect(hostNotes(optionsOf('--ram', '40GiB'), unknown)).toEqual([]);
});

test('a key that the agent has yet to make is told where peers need it', () => {
  const without = host({ isThere: () => false });
  expect(hostNotes(optionsOf(), without)).toEqual([]);
  const notes = hostNotes(optionsOf('--peers', '127.0.0.1:1', '--identity', '/k'), without);
  expect(notes).toEqual([expect.stringMatching(/^identity: \/k is not there yet\. The agent makes it/)]);
});
