/**
 * Bodies that are announced and do not come: they wait in the Worker, before any object, so one layout shows it. They
 * cost the others nothing and are refused; the edge waits for their time to be over, and so does this file.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { residentBytes } from '../../bench/machine/process-figures.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { openFiles, workerdPid } from './processes.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask, chatPath, figure, openRequest, talkTo } from './requests.ts';

const MiB = 1024 * 1024;
const idleUploads = 1_000;
/** `uploadYieldMs`, and what two busy cores add. */
const roomMsMax = 8_000;

const engine = new PuppetEngine();
beforeAll(() => engine.start());
afterAll(() => engine.stop());
const fixture = useCluster(() => ({
  layout: 'one-object',
  agents: [{ name: 'gpu', engines: [engine.url] }],
}));

test(`${idleUploads} bodies announced and never sent: nobody else notices, and they are refused`, async () => {
  const { cluster } = fixture;
  const pid = workerdPid(cluster.directory);
  const [files, before] = [openFiles(pid), residentBytes(pid)];
  const idle = Array.from({ length: idleUploads }, () =>
    talkTo(
      cluster,
      `POST ${chatPath} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${cluster.apiKey}\r\n` +
        `content-length: ${32 * MiB}\r\n\r\n{`,
    ),
  );
  await until('them to be connected', () => openFiles(pid) >= files + idleUploads);
  // What is left for the others is nearly all of the budget.
  const honest = await Promise.all([
    ask(cluster, freshId(), { promptBytes: 30 * MiB }),
    ask(cluster, freshId(), {}),
  ]);
  expect(honest.map(({ status }) => status)).toEqual([200, 200]);
  const grownMiB = ((residentBytes(pid) - before) / MiB).toFixed(0);
  figure(`${idleUploads} idle uploads and one of 30 MiB: edge grew ${grownMiB} MiB`);
  const answers = await Promise.all(idle.map(({ heard }) => heard));
  for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 408 [\s\S]*"code":"upload_timeout"/);
  await until('their sockets to be closed', () => openFiles(pid) <= files + 5);
});

test('bodies that stop halfway make room for one that comes', async () => {
  const { cluster } = fixture;
  const body = Buffer.alloc(31 * MiB, 0x20);
  const stuck = [1, 2].map(() =>
    openRequest(cluster, freshId(), body, { announcedBytes: 32 * MiB, isEnded: false }),
  );
  await until('them to be sent', () => stuck.every(({ outgoing }) => outgoing.writableLength === 0));
  const large = { promptBytes: 8 * MiB };
  // While they may still come there is no room; on a busy machine that time is over before the upload is.
  expect([503, 200]).toContain((await ask(cluster, freshId(), large)).status);
  const startedMs = performance.now();
  await until('room', async () => (await ask(cluster, freshId(), large)).status === 200);
  figure(`two stuck bodies of 31 MiB made room after ${(performance.now() - startedMs).toFixed(0)} ms`);
  expect(performance.now() - startedMs).toBeLessThan(roomMsMax);
  for (const { hangUp } of stuck) hangUp();
});
