/**
 * Silence with an agent, an edge and real time: an engine under load that answers nobody's looks serves its streams to
 * the end, and is ended only when it is silent altogether.
 */
import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { interTokenMsMax } from '@cognitora/protocol/limits';
import { beforeAll, expect, test } from 'vitest';
import { useCluster } from '../harness/use-cluster.ts';
import { fakeEngine, Host, openChat, tellFake, wordsOf } from './host.ts';

const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
let joinToken: string;
beforeAll(async () => {
  ({ joinToken } = await fixture.cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {}));
});

/** Of a stream that lasts longer than its engine's looks may go unanswered; ten a second. */
const words = (interTokenMsMax / 1_000 + 40) * 10;

test('a busy engine is not a hung one', { timeout: 8 * 60_000 }, async () => {
  const { cluster } = fixture;
  const engines = fakeEngine('busy', `FAKE_SLOW_WORDS = "${words}"`);
  const host = new Host({ cluster, joinToken }, 'busy', engines);
  const before = await host.ready('busy');
  await tellFake(before, 'failure', 'slow');
  const stream = await openChat(cluster, 'busy');
  await stream.begun;
  await tellFake(before, 'looks', 'unanswered');
  await host.replicaIs('to be seen silent', 'busy', ({ state }) => state === 'failed');
  const text = await stream.text;
  expect([wordsOf(text).length, text.endsWith('data: [DONE]\n\n')]).toEqual([words, true]);
  const silentMs = performance.now();
  expect((await host.replica('busy'))?.launch).toMatchObject({
    ...{ state: 'loading', restarts: 0 },
    pid: before.launch?.pid,
  });
  const isBack = ({ launch }: ReplicaStatus): boolean => launch?.restarts === 1;
  await host.replicaIs('to be ended', 'busy', isBack, interTokenMsMax + 60_000);
  expect(performance.now() - silentMs).toBeGreaterThan(interTokenMsMax - 10_000);
  const after = await host.ready('busy');
  expect(after.launch?.lastLines.join('\n')).toContain('hung: no look was answered');
});
