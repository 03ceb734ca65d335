/**
 * Clients that mean harm, or are only broken: slow, huge, too many at once, lying about themselves. The edge refuses or
 * waits them out, in bounded memory, and goes on serving the others.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { residentBytes } from '../../bench/machine/process-figures.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, jsonOf } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { openFiles, workerdPid } from './processes.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask, bodyFor, chatPath, figure, headersFor, talkTo } from './requests.ts';

const MiB = 1024 * 1024;
/** 64 bodies of 8 MiB at once: the budget of 64 MiB once, and the buffers of the runtime and its 64 connections. */
const bodiesGrowthBytesMax = 208 * MiB;
const slowClients = 100;

interface ErrorBody {
  readonly error: { readonly code: string };
}

describe.each(layouts)('hostile clients, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  const talk = (text: string) => talkTo(fixture.cluster, text);
  const untilServed = async (): Promise<void> => {
    const answer = await ask(fixture.cluster, freshId(), {});
    expect([answer.status, answer.body.toString()]).toEqual([200, expect.stringContaining('[DONE]')]);
  };

  test('slow-loris: a hundred headers that never end hold nobody up, and are hung up on', async () => {
    const pid = workerdPid(fixture.cluster.directory);
    const before = openFiles(pid);
    const slow = Array.from({ length: slowClients }, () =>
      talk(`POST ${chatPath} HTTP/1.1\r\nhost: x\r\nx-a: `),
    );
    await until('them to be connected', () => openFiles(pid) >= before + slowClients);
    const startedMs = performance.now();
    await untilServed();
    expect(performance.now() - startedMs).toBeLessThan(1_000);
    for (const { socket } of slow) socket.destroy();
    await until('their sockets to be closed', () => openFiles(pid) <= before + 5);
  });

  test('header bombs are refused', async () => {
    const bombs = [
      `GET /healthz HTTP/1.1\r\nhost: x\r\nx-bomb: ${'b'.repeat(1 * MiB)}\r\n\r\n`,
      `GET /healthz HTTP/1.1\r\nhost: x\r\n${'x-bomb: b\r\n'.repeat(100_000)}\r\n`,
      `GET /${'u'.repeat(1 * MiB)} HTTP/1.1\r\nhost: x\r\n\r\n`,
      'NONSENSE\r\n\r\n',
      `POST ${chatPath} HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n`,
      `POST ${chatPath} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZZZ\r\n`,
    ];
    for (const bomb of bombs) {
      const { heard, socket } = talk(bomb);
      await Promise.race([heard, until('an answer', () => socket.bytesRead > 0, 8_000)]);
      socket.destroy();
      // Some are cut off without a word.
      expect(await heard).toMatch(/^$|^HTTP\/1.1 4\d\d /);
    }
    await untilServed();
  });

  test('64 bodies of 8 MiB at once: some are served, the others told to come back, none hangs', async () => {
    const { cluster } = fixture;
    const pid = workerdPid(cluster.directory);
    const before = residentBytes(pid);
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, residentBytes(pid));
    }, 20);
    const body = bodyFor({ promptBytes: 8 * MiB });
    const answers = await Promise.all(
      Array.from({ length: 64 }, () => ask(cluster, freshId(), {}, { body }).catch(() => undefined)),
    );
    clearInterval(watch);
    const statuses = answers.map((answer) => answer?.status ?? 0);
    const count = (status: number): number => statuses.filter((one) => one === status).length;
    const told = `${count(200)} served, ${count(503)} refused, ${count(0)} cut`;
    figure(`${layout}: 64 x 8 MiB: ${told}; edge grew ${((peak - before) / MiB).toFixed(0)} MiB`);
    expect(count(200)).toBeGreaterThan(0);
    expect(count(200) + count(503)).toBe(64);
    for (const refused of answers.filter((answer) => answer?.status === 503)) {
      if (refused === undefined) continue;
      expect(jsonOf<ErrorBody>(refused).error.code).toBe('over_budget');
      expect(refused.headers['retry-after']).toBe('1');
    }
    expect(peak - before).toBeLessThan(bodiesGrowthBytesMax);
    await untilServed();
  });

  test('one request id used by many at once mixes nothing up', async () => {
    const { cluster } = fixture;
    const id = freshId();
    const counts = Array.from({ length: 20 }, (_, index) => index + 1);
    const answers = await Promise.all(
      counts.map((events) => ask(cluster, id, { act: 'drip', events, everyMs: 5 })),
    );
    for (const [index, { status, headers, body }] of answers.entries()) {
      expect([status, headers['x-request-id']]).toEqual([200, id]);
      expect(body.toString().match(/"content"/g)).toHaveLength(index + 1);
    }
  });

  test('a request id that is none is replaced, never passed on', async () => {
    const { cluster } = fixture;
    const bad = [
      'a b',
      'a%0d%0ax-evil: 1',
      'é'.repeat(3),
      'x'.repeat(129),
      '<script>',
      '../../etc',
      'a;b',
      '"',
    ];
    for (const id of bad) {
      const answer = await ask(
        cluster,
        'unused',
        {},
        {
          headers: { ...headersFor(cluster, 'unused'), 'x-request-id': Buffer.from(id).toString('latin1') },
        },
      );
      expect(answer.status).toBe(200);
      expect(answer.headers['x-request-id']).toMatch(/^req_[0-9a-f]{32}$/);
      expect(answer.headers).not.toHaveProperty('x-evil');
      expect([...engine.performances.keys()]).not.toContain(id);
    }
  });

  test('headers that claim to be ours, or somebody else, decide nothing', async () => {
    const { cluster } = fixture;
    const lies = {
      'x-cognitora-open': '{"region":"enam","open":{}}',
      'x-cognitora-region': 'enam',
      'x-cognitora-node': 'nforged',
      'x-forwarded-for': '10.0.0.1',
    };
    const served = await ask(
      cluster,
      freshId(),
      {},
      { headers: { ...headersFor(cluster, freshId()), ...lies } },
    );
    expect([served.status, served.headers['x-cognitora-region']]).toEqual([200, 'weur']);
    const { authorization: _none, ...nameless } = headersFor(cluster, freshId());
    expect((await ask(cluster, freshId(), {}, { headers: { ...nameless, ...lies } })).status).toBe(401);
  });
});
