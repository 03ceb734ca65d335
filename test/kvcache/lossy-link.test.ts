/**
 * The link that benches and tests use for loss and distance, as programs on its ends see it: it delays, loses, narrows
 * and keeps order as told. Where the system allows no namespaces or no TUN device, it is skipped and says why.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { DirectionShape } from '../../bench/lossy-link/direction.ts';
import { type LossyLink, openLossyLink } from '../../bench/lossy-link/link.ts';
import { startWorkerProcess, type WorkerProcess } from '../../bench/machine/worker-process.ts';
import { until } from '../harness/until.ts';
import type { DatagramAnswer, DatagramCommand } from './datagrams.ts';

const wide: DirectionShape = {
  delayMs: 0,
  jitterMs: 0,
  lossShare: 0,
  megabitsPerSecond: 1000,
  queueBytesMax: 4 * 2 ** 20,
};

let link: LossyLink | undefined;
let whyNot = '';
let sender: WorkerProcess<DatagramCommand, DatagramAnswer> | undefined;
let receiver: WorkerProcess<DatagramCommand, DatagramAnswer> | undefined;
let target = { host: '', port: 0 };

beforeAll(async () => {
  try {
    link = await openLossyLink({ shape: wide, seed: 7 });
  } catch (thrown) {
    whyNot = thrown instanceof Error ? thrown.message : String(thrown);
    return;
  }
  const path = join(import.meta.dirname, 'datagrams.ts');
  const [from, to] = link.ends;
  sender = startWorkerProcess(path, from.enter);
  receiver = startWorkerProcess(path, to.enter);
  const { port } = await receiver.ask({ do: 'bind', host: to.host });
  target = { host: to.host, port };
});

afterAll(async () => {
  await Promise.all([sender?.stop(), receiver?.stop()]);
  await link?.stop();
});

beforeEach(({ skip }) => {
  if (link === undefined) skip(whyNot);
});

const sent = async (shape: Partial<DirectionShape>, count: number, bytes = 200, burst = 5) => {
  if (link === undefined || sender === undefined || receiver === undefined) throw new Error(whyNot);
  await link.change({ ...wide, ...shape });
  const [before] = await link.counts();
  await sender.ask({ do: 'send', ...target, count, bytes, burst });
  const counted = await until('every datagram to be counted', async () => {
    const [after] = (await link?.counts()) ?? [before];
    const [delivered, lost, dropped] = (['delivered', 'lost', 'dropped'] as const).map(
      (name) => after[name] - before[name],
    ) as [number, number, number];
    return delivered + lost + dropped === count && { delivered, lost, dropped };
  });
  const numbers: number[] = [];
  const delaysUs: number[] = [];
  await until('every datagram that was delivered', async () => {
    const seen = await receiver?.ask({ do: 'seen' });
    numbers.push(...(seen?.numbers ?? []));
    delaysUs.push(...(seen?.delaysUs ?? []));
    return numbers.length === counted.delivered;
  });
  return { numbers, delaysUs, counted };
};

const isOrdered = (numbers: readonly number[]): boolean =>
  numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0));

test('every packet takes the delay, none is lost, in order', async () => {
  const { numbers, delaysUs } = await sent({ delayMs: 40 }, 500);
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, number) => number));
  expect(Math.min(...delaysUs)).toBeGreaterThanOrEqual(40_000);
});

test('loss is what was asked for, and nothing else is lost', async () => {
  const { numbers, counted } = await sent({ lossShare: 0.1 }, 3_000);
  // Five standard deviations of 3,000 draws.
  expect(Math.abs(counted.lost - 300)).toBeLessThan(83);
  expect(counted).toMatchObject({ delivered: numbers.length, dropped: 0 });
  expect(link?.ends[0].unwantedDrops()).toBe(0);
});

test('packets that are delayed by different times keep their order', async () => {
  const { numbers, delaysUs } = await sent({ delayMs: 10, jitterMs: 30 }, 1_000);
  expect(numbers.length).toBe(1_000);
  expect(isOrdered(numbers)).toBe(true);
  expect(Math.min(...delaysUs)).toBeGreaterThanOrEqual(10_000);
  expect(Math.max(...delaysUs)).toBeGreaterThan(25_000);
});

test('a narrow link takes its time, and drops what finds its queue full', async () => {
  // 1,028 bytes with headers at 8 Mbit/s: about 1 ms each, and 20 that may wait.
  const { delaysUs, counted } = await sent({ megabitsPerSecond: 8, queueBytesMax: 20_600 }, 200, 1_000, 200);
  expect(counted.dropped).toBeGreaterThan(0);
  expect(counted.lost).toBe(0);
  expect(Math.max(...delaysUs)).toBeGreaterThan(15_000);
});
