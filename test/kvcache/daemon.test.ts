/** The daemon as a process: what it keeps over an end in order, over SIGKILL, and within its sizes. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../harness/until.ts';
import { Client, startDaemon } from './daemon.ts';
import { dirtyBytes, metric, nameOf, temporaryDirectory, valueFor } from './values.ts';

const mebibyte = 2 ** 20;

test('values of an engine outlive an end in order', async () => {
  const directory = temporaryDirectory();
  // A quarter of it may wait for the disk: all twenty, however slow that is.
  const first = await startDaemon('--data-dir', directory, '--ram', '128MiB', '--disk', '1GiB');
  const client = await Client.open(first.port);
  for (let index = 0; index < 20; index += 1) {
    expect(await client.ask('SET', `k${index}`, valueFor(`k${index}`, mebibyte))).toBe('+OK');
  }
  expect(await first.end('SIGTERM')).toBe(0);
  const second = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  expect(second.values).toBe(20);
  const again = await Client.open(second.port);
  for (let index = 0; index < 20; index += 1) {
    const value = await again.ask('GET', `k${index}`);
    expect(Buffer.isBuffer(value) && nameOf(value) === `k${index}`).toBe(true);
  }
  again.close();
  expect(await metric(second.statusUrl, 'cognitora_kv_hits_total{tier="ssd"}')).toBe(20);
  expect(await second.end('SIGINT')).toBe(0);
}, 60_000);

test('a directory is for one daemon, whatever its socket is, and free after one that was killed', async () => {
  const directory = temporaryDirectory();
  const first = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  const other = join(temporaryDirectory(), 'other.sock');
  const second = startDaemon('--data-dir', directory, '--socket', other, '--ram', '64MiB', '--disk', '1GiB');
  await expect(second).rejects.toThrow('the daemon ended with 2');
  expect(await first.end('SIGKILL')).toBe('SIGKILL');
  await startDaemon('--data-dir', directory, '--socket', other, '--ram', '64MiB', '--disk', '1GiB');
}, 60_000);

test('killed in the midst of writes, what it then knows is whole, and what was on the disk is there', async () => {
  const directory = temporaryDirectory();
  const durable = new Set<string>();
  for (let round = 0; round < 4; round += 1) {
    const daemon = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
    const client = await Client.open(daemon.port);
    for (const key of durable) {
      const value = await client.ask('GET', key);
      expect(Buffer.isBuffer(value) && nameOf(value) === key).toBe(true);
    }
    for (let index = 0; index < 6; index += 1) {
      const key = `r${round}-${index}`;
      await client.ask('SET', key, valueFor(key, 300_000 + index));
      if (index === 2) {
        await until('the disk has all', async () => (await dirtyBytes(daemon.statusUrl)) === 0);
        for (let done = 0; done <= index; done += 1) durable.add(`r${round}-${done}`);
      }
    }
    expect(await daemon.end('SIGKILL')).toBe('SIGKILL');
  }
  const last = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  const client = await Client.open(last.port);
  for (let round = 0; round < 4; round += 1) {
    for (let index = 0; index < 6; index += 1) {
      const key = `r${round}-${index}`;
      const value = await client.ask('GET', key);
      expect(value === null || (Buffer.isBuffer(value) && nameOf(value) === key)).toBe(true);
      if (durable.has(key)) expect(value).not.toBeNull();
    }
  }
}, 90_000);

test('three times what fits is stored, and neither memory nor disk grows beyond its size', async () => {
  const directory = temporaryDirectory();
  const daemon = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  const client = await Client.open(daemon.port);
  const value = randomBytes(4 * mebibyte);
  for (let index = 0; index < 300; index += 1) {
    const answer = await client.ask('SET', `k${index}`, value);
    expect(answer === '+OK' || String(answer).startsWith('-OOM')).toBe(true);
  }
  const onDisk = readdirSync(join(directory, 'segments')).reduce(
    (sum, name) => sum + statSync(join(directory, 'segments', name)).size,
    0,
  );
  expect(onDisk).toBeLessThanOrEqual(1024 * mebibyte);
  expect(await metric(daemon.statusUrl, 'cognitora_kv_bytes{tier="ram"}')).toBeLessThanOrEqual(64 * mebibyte);
  const [rssPages] = execFileSync('cat', [`/proc/${daemon.pid}/statm`])
    .toString()
    .split(' ')
    .slice(1);
  expect(Number(rssPages) * 4096).toBeLessThan(64 * mebibyte + 256 * mebibyte);
}, 90_000);
