/**
 * Two hundred times SIGKILL in the midst of writes, over one directory: what was on the disk when it was last seen to
 * have all is there again, the same or newer; what was not is there whole or not at all; nothing is ever another value.
 */
import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { pause, until } from '../harness/until.ts';
import { Client, type Daemon, startDaemon } from './daemon.ts';
import { dirtyBytes, metric, nameOf, temporaryDirectory, valueFor } from './values.ts';

const kills = 200;
const writers = 4;
const keysOfEach = 12;
const bytesMax = 600_000;

/** What one key was given, in order; a version is its place. Null: it was deleted. */
interface History {
  readonly versions: (string | null)[];
  /** The latest that was answered, and the latest that the disk had. */
  acknowledged: number;
  durable: number;
}

const histories = new Map<string, History>();
const historyOf = (key: string): History => {
  const known = histories.get(key) ?? { versions: [null], acknowledged: 0, durable: 0 };
  histories.set(key, known);
  return known;
};

/** Writes until the connection breaks. */
const writeOn = async (client: Client, writer: number): Promise<void> => {
  for (let step = 0; ; step += 1) {
    const key = `w${writer}-${randomInt(keysOfEach)}`;
    const history = historyOf(key);
    const version = history.versions.length;
    const isDeletion = step % 7 === 6;
    const name = `${key} v${version}`;
    history.versions.push(isDeletion ? null : name);
    const bytes = 100 + randomInt(bytesMax);
    const answer = isDeletion
      ? await client.ask('DEL', key)
      : await client.ask('SET', key, valueFor(name, bytes));
    if (answer === undefined) return;
    history.acknowledged = version;
  }
};

const counts = { same: 0, newer: 0, absent: 0, durable: 0 };

/** Every key against its history. What is found is what its history goes on from. */
const check = async (client: Client): Promise<void> => {
  for (const [key, history] of histories) {
    const value = await client.ask('GET', key);
    const found = Buffer.isBuffer(value) ? (nameOf(value) ?? 'damaged') : null;
    const { versions, durable } = history;
    const version = versions.lastIndexOf(found);
    const told = `${key}: ${found}, durable ${versions[durable]}, of ${versions.slice(durable).join(', ')}`;
    expect(version, told).toBeGreaterThanOrEqual(durable);
    if (durable > 0) counts.durable += 1;
    if (found === null) counts.absent += 1;
    else if (version === durable) counts.same += 1;
    else counts.newer += 1;
    Object.assign(history, { versions: [null, ...(found === null ? [] : [found])] });
    history.acknowledged = history.versions.length - 1;
    history.durable = history.acknowledged;
  }
};

/** All that was answered before it was asked is durable once nothing waits. */
const settle = async ({ statusUrl }: Daemon): Promise<void> => {
  const answered = new Map([...histories].map(([key, { acknowledged }]) => [key, acknowledged]));
  await until('the disk to have all', async () => (await dirtyBytes(statusUrl)) === 0, 20_000);
  for (const [key, version] of answered) historyOf(key).durable = version;
};

test(`${kills} kills in the midst of writes`, async () => {
  const directory = temporaryDirectory();
  let corrupt = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const daemon = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
    const checker = await Client.open(daemon.port);
    await check(checker);
    corrupt += await metric(daemon.statusUrl, 'cognitora_kv_corrupt_total');
    const clients = await Promise.all(Array.from({ length: writers }, () => Client.open(daemon.port)));
    const writing = clients.map((client, writer) => writeOn(client, writer));
    await pause(randomInt(150));
    // Now and then what was answered so far is seen to be on the disk, and writes go on behind it.
    if (kill % 3 === 0) await settle(daemon);
    await pause(randomInt(150));
    expect(await daemon.end('SIGKILL')).toBe('SIGKILL');
    await Promise.all(writing);
    checker.close();
  }
  const last = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  await check(await Client.open(last.port));
  process.stdout.write(
    `[figure] ${kills} kills: ${JSON.stringify(counts)}, ${corrupt} torn values refused\n`,
  );
  expect(counts.durable).toBeGreaterThan(kills);
}, 1_800_000);
