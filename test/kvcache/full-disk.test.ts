/**
 * A disk without room: the daemon serves from memory, says how often it failed, and writes again when there is room.
 * Once by a bound of the process on its files, which anybody may set; once on a small file system, where that may be
 * mounted.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../harness/until.ts';
import { Client, type Daemon, startDaemon } from './daemon.ts';
import { dirtyBytes, metric, nameOf, temporaryDirectory, valueFor } from './values.ts';

const MiB = 2 ** 20;
/** Between what is written before and what comes then. */
const roomMiB = 20;
const before = Array.from({ length: 10 }, (_, at) => `before ${at}`);
const beyond = Array.from({ length: 24 }, (_, at) => `beyond ${at}`);

const set = async (client: Client, key: string): Promise<void> => {
  expect(await client.ask('SET', key, valueFor(key, MiB))).toBe('+OK');
};
const has = async (client: Client, key: string): Promise<boolean> => {
  const value = await client.ask('GET', key);
  if (value === null) return false;
  expect(Buffer.isBuffer(value) && nameOf(value)).toBe(key);
  return true;
};
const failures = ({ statusUrl }: Daemon) => metric(statusUrl, 'cognitora_kv_errors_total');

const expectToLiveThrough = async (
  directory: string,
  narrow: (pid: number) => void,
  widen: (pid: number) => void,
): Promise<void> => {
  const options = ['--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB'];
  const daemon = await startDaemon(...options);
  narrow(daemon.pid);
  const client = await Client.open(daemon.port);
  for (const key of before) await set(client, key);
  await until('the disk to have them', async () => (await dirtyBytes(daemon.statusUrl)) === 0);
  expect(await failures(daemon)).toBe(0);
  for (const key of beyond) await set(client, key);
  await until('the disk to be full', async () => (await failures(daemon)) > 0);
  for (const key of [...before, ...beyond]) expect(await has(client, key)).toBe(true);
  widen(daemon.pid);
  const written = () => metric(daemon.statusUrl, 'cognitora_kv_written_total');
  const writtenBefore = await written();
  await until('the disk to be used again', async () => {
    await set(client, 'after');
    return (await written()) > writtenBefore;
  });
  await set(client, 'last');
  expect(await daemon.end('SIGTERM')).toBe(0);
  const next = await startDaemon(...options);
  const again = await Client.open(next.port);
  for (const key of [...before, 'after', 'last']) expect(await has(again, key), key).toBe(true);
  for (const key of beyond) await has(again, key);
  expect(await metric(next.statusUrl, 'cognitora_kv_corrupt_total')).toBe(0);
};

test('files that may grow no more', async () => {
  const limit = (pid: number, bytes: number | 'unlimited'): void => {
    execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`]);
  };
  await expectToLiveThrough(
    temporaryDirectory(),
    (pid) => limit(pid, roomMiB * MiB),
    (pid) => limit(pid, 'unlimited'),
  );
}, 60_000);

const mount = (directory: string, options: string): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory]).status === 0;
const mayMount = (): boolean => process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0;

test.runIf(mayMount())(
  'a file system without room',
  async () => {
    const directory = temporaryDirectory();
    expect(mount(directory, `size=${roomMiB}m`)).toBe(true);
    onTestFinished(() => void spawnSync('umount', ['--lazy', directory]));
    await expectToLiveThrough(
      directory,
      () => {},
      () => {
        expect(mount(directory, 'remount,size=200m')).toBe(true);
      },
    );
  },
  60_000,
);
