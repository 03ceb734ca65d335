import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parseOptions } from './options.ts';

const parse = (line: string, environment: NodeJS.ProcessEnv = {}) =>
  parseOptions(
    line.split(' ').filter((word) => word !== ''),
    environment,
  );

test('a directory is all that must be said', () => {
  expect(parse('--data-dir /d')).toEqual({
    ramBytesMax: 2 ** 30,
    ssd: { directory: '/d/segments', bytesMax: 16 * 2 ** 30 },
    resp: { host: '127.0.0.1', port: 6379 },
    status: { host: '127.0.0.1', port: 6380 },
    password: undefined,
    socket: '/d/kvcached.sock',
    namespacesPath: '/d/namespaces.json',
    mirrors: [],
  });
  expect(parse('--disk 0 --ram 1.5GiB')).toMatchObject({ ramBytesMax: 1.5 * 2 ** 30, ssd: undefined });
  expect(parse('--help')).toBeUndefined();
});

test.each([
  ['', '--data-dir is missing'],
  ['--data-dir /d --ram 4', '--ram must be a size such as 4GiB, at least 64MiB; it is "4"'],
  ['--data-dir /d --disk 1MiB', 'at least 1GiB'],
  ['--data-dir /d --disk big', 'it is "big"'],
  ['--data-dir /d --listen 6379', '--listen must be HOST:PORT'],
  ['--data-dir /d --listen example.org:6379', '--listen must be HOST:PORT'],
  ['--data-dir /d --listen 127.0.0.1:99999', '--listen must be HOST:PORT'],
  ['--data-dir /d --listen 0.0.0.0:6379', 'needs --password-file'],
  ['--data-dir /d --status 0.0.0.0:6380', 'must be on loopback'],
  ['--data-dir /d --password-file /nowhere', 'cannot be read'],
  ['--data-dir /d --password x', "Unknown option '--password'"],
])('%j is an error that says what is possible', (line, complaint) => {
  expect(() => parse(line)).toThrow(complaint);
});

test('the password comes from a file or the environment', () => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-options-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'p'), 'sesame\n');
  writeFileSync(join(directory, 'empty'), '\n');
  expect(parse(`--disk 0 --listen 0.0.0.0:1 --password-file ${directory}/p`)?.password).toBe('sesame');
  expect(parse('--disk 0', { COGNITORA_KV_PASSWORD: 'open' })?.password).toBe('open');
  expect(() => parse(`--disk 0 --password-file ${directory}/empty`)).toThrow('is empty');
});
