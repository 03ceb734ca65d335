import type { ReplicaName } from '@cognitora/protocol/ids';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { engineAt, serveHttp } from '../../testing/http-engine.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { ReplicaCounters } from '../status/counters.ts';
import { EngineWatch } from './engine-watch.ts';
import { HostTelemetry } from './host-telemetry.ts';

const metrics = engineProfiles.get('vllm')?.metrics;
if (metrics === undefined) throw new Error('the profile has no metrics');

interface Page {
  status: number;
  text: string;
}

const watched = async (page: Page) => {
  const asked: string[] = [];
  const url = await serveHttp((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    response.writeHead(page.status);
    response.end(page.text);
  });
  const said: string[] = [];
  const counters = new ReplicaCounters();
  const engine = engineAt(url, { apiKey: 'sk-engine' });
  const log = (_: string, message: string, facts?: object): number =>
    said.push(`${message}: ${JSON.stringify(facts)}`);
  return { asked, said, counters, engine, watch: new EngineWatch({ engine, metrics, counters, log }) };
};

afterEach(() => {
  vi.useRealTimers();
});

test('figures are read from where the profile says, with the engine’s key', async () => {
  const { watch, asked } = await watched({ status: 200, text: 'vllm:num_requests_running 3\n' });
  const parse = vi.spyOn(JSON, 'parse');
  await watch.look();
  // A page may be long, and is no JSON.
  expect(parse).not.toHaveBeenCalled();
  parse.mockRestore();
  expect(watch.history.load).toMatchObject({ running: 3, waiting: undefined });
  expect(asked).toEqual(['GET /metrics Bearer sk-engine']);
});

test('requests that this agent has there are nobody else’s', async () => {
  const { watch, counters } = await watched({ status: 200, text: 'vllm:num_requests_running 3\n' });
  counters.live = 2;
  counters.answering = 2;
  await watch.look();
  await watch.look();
  expect(watch.history.load?.othersRunning).toBe(1);
});

test.each<readonly [string, Page]>([
  ['has no such page', { status: 404, text: 'vllm:num_requests_running 3\n' }],
  ['answers without end', { status: 200, text: `${'# '.repeat(1024 * 512)}\n` }],
  ['has too many lines', { status: 200, text: '#\n'.repeat(20_001) }],
])('an engine that %s is unknown, told once, until it answers', async (_, page) => {
  const { watch, said } = await watched(page);
  await watch.look();
  await watch.look();
  expect(watch.history.load).toBeUndefined();
  expect(said).toHaveLength(1);
  expect(said[0]).toMatch(/the load of an engine is not known/);
  Object.assign(page, { status: 200, text: 'vllm:num_requests_waiting 1\n' });
  await watch.look();
  expect(watch.history.load).toMatchObject({ running: undefined, waiting: 1 });
});

test('an engine that hangs is unknown', async () => {
  const url = await serveHttp(() => {});
  const engine = engineAt(url);
  const counters = new ReplicaCounters();
  const watch = new EngineWatch({ engine, metrics, counters, log: () => {} });
  await watch.look();
  expect(watch.history.load).toBeUndefined();
});

test('the link hears of engines, of each GPU once, and of nobody of whom nothing can be known', async () => {
  const { engine, counters } = await watched({ status: 200, text: '' });
  const source = (gpus: readonly number[]) =>
    ({
      kind: 'attached',
      url: new URL('http://e'),
      kvEvents: undefined,
      gpus,
      kvDirectory: undefined,
    }) as const;
  const replica = (name: string, gpus: readonly number[]) => ({
    ...{ engine, counters, metrics: undefined },
    config: { name: name as ReplicaName, source: source(gpus) },
  });
  const telemetry = new HostTelemetry({
    replicas: [replica('r0', [0]), replica('r1', [0]), replica('r2', [])],
    sources: [
      {
        name: 'test',
        start: ({ onGpu }) => {
          onGpu({ gpu: 0, watts: 312 });
          return () => {};
        },
      },
    ],
    clock: { wallMs: () => 0, monotonicMs: () => 0 },
    log: () => {},
  });
  const told: unknown[] = [];
  const link = { measured: (figures: unknown) => told.push(figures) > 0 };
  telemetry.tell();
  telemetry.start();
  onTestFinished(() => telemetry.stop());
  telemetry.linked(link);
  telemetry.tell();
  expect(told).toEqual([
    {
      replicas: [
        { name: 'r0', gpus: [0] },
        { name: 'r1', gpus: [0] },
      ],
      gpus: [{ gpu: 0, watts: 312 }],
    },
  ]);
  telemetry.linked(link);
  telemetry.tell();
  expect(told).toHaveLength(2);
  telemetry.unlinked(link);
  telemetry.tell();
  expect(told).toHaveLength(2);
});
