/**
 * What request bodies cost the edge's isolate when its budget is full: the budget, once, and what V8 has yet to throw
 * away. A copy of the bodies anywhere on their way would add the budget a second time.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  bodyBytesInFlightMaxSelfHosted,
  bodyBytesInFlightMaxWorkers,
  bodyBytesMaxSelfHosted,
  bodyBytesMaxWorkers,
  prefixMapsBytesMaxWorkers,
} from '../../protocol/src/limits.ts';
import { freshId } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { PuppetEngine } from '../robustness/puppet-engine.ts';
import { ask, bodyFor, figure } from '../robustness/requests.ts';
import { type IsolateMemory, sumOf, useWatchedEdge } from './watched-edge.ts';

const MiB = 1024 * 1024;

/** Parts that are read or under way, and what was freed and not yet collected. */
const otherBuffersBytesMax = 20 * MiB;

/** Guesses beside a prefix map, and rounding. */
const besideMapBytesMax = 3 * MiB;

const cases = [
  {
    platform: 'self-hosted',
    layout: 'one-object',
    bodyBytes: bodyBytesMaxSelfHosted,
    inFlightBytes: bodyBytesInFlightMaxSelfHosted,
    /** The prefix map of the one model that is served. */
    mapBytes: 32 * MiB,
    /** The bound: less than the budget twice, and the map. */
    isolateBytesMax: 144 * MiB,
    heapMiBMax: 512,
  },
  {
    platform: 'workers',
    layout: 'object-per-node',
    bodyBytes: bodyBytesMaxWorkers,
    inFlightBytes: bodyBytesInFlightMaxWorkers,
    mapBytes: prefixMapsBytesMaxWorkers / 2,
    /** The bound: three quarters of what Cloudflare gives an isolate. */
    isolateBytesMax: 96 * MiB,
    heapMiBMax: 64,
  },
] as const;

describe.each(cases)('bodies in the isolate, $platform', (the) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({
    layout: the.layout,
    agents: [{ name: 'gpu', engines: [engine.url] }],
  }));
  const watched = useWatchedEdge(fixture, the);

  const expectBounded = (what: string, { heap, buffers }: IsolateMemory): void => {
    const [heapMiB, buffersMiB] = [heap, buffers].map((bytes) => (bytes / MiB).toFixed(0));
    figure(`${the.platform}: ${what}: isolate at most ${heapMiB} MiB of heap, ${buffersMiB} MiB of buffers`);
    expect(buffers).toBeLessThan(the.inFlightBytes + otherBuffersBytesMax + the.mapBytes + besideMapBytesMax);
    expect(sumOf({ heap, buffers })).toBeLessThan(the.isolateBytesMax);
  };

  /** Text whose characters take two bytes in V8's strings: a decoded body would be the larger. */
  const largest = bodyFor({ promptBytes: 0 }).replace(
    '"content":""',
    `"content":"${'漢'.repeat((the.bodyBytes - 1024) / 3)}"`,
  );

  test('as many of the largest as the budget holds', async () => {
    const ids = Array.from({ length: the.inFlightBytes / the.bodyBytes }, freshId);
    const answers = Promise.all(ids.map((id) => ask(fixture.cluster, id, {}, { body: largest })));
    const peak = await watched.edge.peakDuring(answers);
    expect((await answers).map(({ status }) => status)).toEqual(ids.map(() => 200));
    expectBounded(`${ids.length} bodies of ${the.bodyBytes / MiB} MiB`, peak);
  });

  test('and while 64 clients want eight times that', async () => {
    const body = bodyFor({ promptBytes: 8 * MiB - 1024 });
    const answers = Promise.all(
      Array.from({ length: 64 }, () => ask(fixture.cluster, freshId(), {}, { body })),
    );
    const peak = await watched.edge.peakDuring(answers);
    const statuses = (await answers).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(0);
    expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
    expect(watched.edge.isAlive).toBe(true);
    expectBounded('64 bodies of 8 MiB', peak);
  });
});
