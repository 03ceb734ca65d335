import { hangUpHoldMs, quietMs } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test, vi } from 'vitest';
import { clientsHungUp, quietClients, untilQuiet, watchClient } from './client-watch.ts';

const turn = (): Promise<void> => new Promise((accept) => setImmediate(accept));

test('a client that hung up is told of once, and only while its request lasts', async () => {
  const told: string[] = [];
  const watch = (client: string) =>
    watchClient(
      client,
      () => 0,
      () => told.push(client),
    );
  watch('127.0.0.1:1');
  watch('127.0.0.1:2').over();
  clientsHungUp(['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']);
  clientsHungUp(['127.0.0.1:1']);
  await turn();
  expect(told).toEqual(['127.0.0.1:1']);
});

test('the next request of a connection is not the last one’s', async () => {
  const told: string[] = [];
  const first = watchClient(
    '[::1]:1',
    () => 0,
    () => told.push('first'),
  );
  const second = watchClient(
    '[::1]:1',
    () => 0,
    () => told.push('second'),
  );
  first.over();
  clientsHungUp(['[::1]:1']);
  await turn();
  expect(told).toEqual(['second']);
  second.over();
});

test('a client is quiet once nothing was written to it for a while', () => {
  let nowMs = 1_000;
  const clients = [1, 2].map((port) =>
    watchClient(
      `10.0.0.1:${port}`,
      () => nowMs,
      () => {},
    ),
  );
  expect(quietClients(nowMs + quietMs - 1)).toBe(0);
  expect(quietClients(nowMs + quietMs)).toBe(2);
  nowMs += quietMs;
  clients[0]?.wrote();
  expect(quietClients(nowMs)).toBe(1);
  for (const client of clients) client.over();
  expect(quietClients(nowMs + quietMs)).toBe(0);
});

test('a client without an address is left alone', () => {
  const client = watchClient(
    undefined,
    () => 0,
    () => {},
  );
  client.wrote();
  expect(quietClients(quietMs)).toBe(0);
  client.over();
});

test('the answer waits until a client is quiet, but not for ever', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const told: number[] = [];
  const clock = (): number => Date.now();
  void untilQuiet(clock).then((quiet) => told.push(quiet));
  await vi.advanceTimersByTimeAsync(1_000);
  const client = watchClient('127.0.0.1:1', clock, () => {});
  await vi.advanceTimersByTimeAsync(quietMs - 1);
  expect(told).toEqual([]);
  await vi.advanceTimersByTimeAsync(quietMs);
  expect(told).toEqual([1]);
  client.over();
  void untilQuiet(clock).then((quiet) => told.push(quiet));
  await vi.advanceTimersByTimeAsync(hangUpHoldMs - 1);
  expect(told).toEqual([1]);
  await vi.advanceTimersByTimeAsync(quietMs);
  expect(told).toEqual([1, 0]);
});
