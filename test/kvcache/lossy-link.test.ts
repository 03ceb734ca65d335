/**
 * The link that benches and tests use for loss and distance, as programs on its ends see it: it delays, loses, narrows
 * and keeps order as told. Where the system allows no namespaces or no TUN device, it is skipped and says why.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { DirectionShape } from '../../bench/lossy-link/direction.ts';
import { type LossyLink, openLossyLink } from '../../bench/lossy-link/link.ts';
import { startWorkerProcess, type WorkerProcess } from '../../bench/machine/worker-process.ts';
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

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const sent = async (shape: Partial<DirectionShape>, count: number, bytes = 200, burst = 20) => {
  await link?.change({ ...wide, ...shape });
  const before = await link?.counts();
  await sender?.ask({ do: 'send', ...target, count, bytes, burst });
  await pause((shape.delayMs ?? 0) + (shape.jitterMs ?? 0) + 300);
  const after = await link?.counts();
  const { numbers = [], delaysUs = [] } = (await receiver?.ask({ do: 'seen' })) ?? {};
  const counted = (name: 'delivered' | 'lost' | 'dropped'): number =>
    (after?.[0][name] ?? 0) - (before?.[0][name] ?? 0);
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
  expect(Math.abs(counted('lost') - 300)).toBeLessThan(83);
  expect(numbers.length).toBe(3_000 - counted('lost'));
  expect(link?.ends[0].unwantedDrops()).toBe(0);
});

test('packets that are delayed by different times keep their order', async () => {
  const { numbers, delaysUs } = await sent({ delayMs: 10, jitterMs: 30 }, 1_000, 200, 5);
  expect(numbers.length).toBe(1_000);
  expect(isOrdered(numbers)).toBe(true);
  expect(Math.min(...delaysUs)).toBeGreaterThanOrEqual(10_000);
  expect(Math.max(...delaysUs)).toBeGreaterThan(25_000);
});

test('a narrow link takes its time, and drops what finds its queue full', async () => {
  // 1,028 bytes with headers at 8 Mbit/s: about 1 ms each, and 20 that may wait.
  const { numbers, delaysUs, counted } = await sent(
    { megabitsPerSecond: 8, queueBytesMax: 20_600 },
    200,
    1_000,
    200,
  );
  expect(counted('dropped')).toBeGreaterThan(0);
  expect(numbers.length).toBe(200 - counted('dropped'));
  expect(Math.max(...delaysUs)).toBeGreaterThan(15_000);
});
