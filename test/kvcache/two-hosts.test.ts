/**
 * What one host's engine computed another one's restores, each with its own kvcached: the edge says who holds a prompt's
 * beginning, and the bytes go from daemon to daemon. A real engine on both, and the first host gets no more requests.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { MovesStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { kvDaemonPaths, kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import { parseKvPeers } from '@cognitora/protocol/kv-daemon-bodies';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import type { NodeView } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from '../routing/conversations.ts';

const kvcachedMain = join(import.meta.dirname, '../../kvcache/src/main.ts');
/** Prompts of the same length, none of which shares a block with another one. */
const prompts = { moved: 21, computed: 22 };

describe('two hosts with a kvcached each', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));

  const chat = (seed: number): Promise<Served> =>
    ask(fixture.cluster, { system: words(seed, 520), user: 'What now?', maxTokens: 8 });

  const startHost = async (name: string): Promise<void> => {
    const { cluster } = fixture;
    const slots = join(cluster.directory, `slots-${name}`);
    const data = join(cluster.directory, `kv-${name}`);
    mkdirSync(slots);
    const [live, replay] = [`tcp://127.0.0.1:${await freePort()}`, `tcp://127.0.0.1:${await freePort()}`];
    const options = ['--slot-save-path', slots, '--kv-events', live, '--kv-events-replay', replay];
    const engine = await startEmbedded(cluster, `engine ${name}`, options);
    const kvMoves = { slots: [slots], kvcached: join(data, kvDaemonSocketName) };
    await cluster.startAgent({ name, engines: [engine.url], kvEvents: [{ live, replay }], kvMoves });
    // Its identity is the agent's, who made it by now.
    cluster.startProgram(`kvcached ${name}`, [
      ...[kvcachedMain, '--data-dir', data, '--ram', '256MiB', '--disk', '0'],
      ...['--listen', '127.0.0.1:0', '--status', '127.0.0.1:0', '--peers', `127.0.0.1:${await freePort()}`],
      ...['--identity', join(cluster.directory, 'agents', name, 'node.key')],
    ]);
  };

  const said = (host: string, event: string): boolean =>
    fixture.cluster.log
      .text()
      .split('\n')
      .some((line) => line.includes(` ${host}: `) && line.includes(`"${event}"`));

  const statusOf = async (host: string): Promise<{ node: string; moves: MovesStatus }> => {
    const file = join(fixture.cluster.directory, 'agents', host, 'status.json');
    const { url } = JSON.parse(readFileSync(file, 'utf8')) as { url: string };
    const { node, replicas } = (await (await fetch(`${url}/status`)).json()) as StatusAnswer;
    const moves = replicas[0]?.moves;
    if (moves === undefined) throw new Error(`the KV of ${host} does not move`);
    return { node, moves };
  };

  /** From now on requests go to the other host. */
  const cordon = async (host: string, method: 'PUT' | 'DELETE'): Promise<void> => {
    const { node } = await statusOf(host);
    await fixture.cluster.admin(method, `/admin/nodes/${node}/cordon`);
  };

  /** Its daemon reaches the other one. */
  const isReaching = async (host: string): Promise<boolean> => {
    const socketPath = join(fixture.cluster.directory, `kv-${host}`, kvDaemonSocketName);
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const asked = request({ socketPath, path: kvDaemonPaths.peers }, (response) => {
        buffer(response).then(resolve, reject);
      });
      asked.once('error', reject).end();
    });
    if (process.env.SHOW) console.log(answer.toString());
    return parseKvPeers(answer).peers.some(({ transport }) => transport !== undefined);
  };

  const isKnown = ({ replicas }: NodeView): boolean => replicas[0]?.caches[0]?.trust === 'exact';

  beforeAll(async () => {
    const { cluster } = fixture;
    await startHost('here');
    await startHost('there');
    for (const host of ['here', 'there']) {
      await cluster.node(host, isKnown);
      await until(`the engine ${host} to be probed`, () => said(host, 'kv moves'));
    }
    for (const host of ['here', 'there']) await until(`${host} to reach the other`, () => isReaching(host));
  });

  test('what one computed is restored on the other by way of their daemons, and the receipt shows it', async () => {
    const { cluster } = fixture;
    await cordon('there', 'PUT');
    const first = await chat(prompts.moved);
    await until('the answer to be kept', () => said('here', 'kv saved'));
    await cordon('there', 'DELETE');
    await cordon('here', 'PUT');
    const computed = await chat(prompts.computed);
    const moved = await chat(prompts.moved);
    process.stdout.write(
      `first byte: recomputed ${computed.firstByteMs.toFixed(0)} ms, restored ${moved.firstByteMs.toFixed(0)} ms, ` +
        `${moved.cachedTokens} of ${moved.promptTokens} tokens cached\n`,
    );
    const [giver, taker] = [await statusOf('here'), await statusOf('there')];
    expect([computed, moved].map(({ replica }) => replica)).toEqual([`${taker.node}/r0`, `${taker.node}/r0`]);
    expect(moved.promptTokens).toBeGreaterThan(3_000);
    expect(moved.cachedTokens).toBeGreaterThan(0.9 * moved.promptTokens);
    expect(computed.cachedTokens).toBeLessThan(64);
    expect(moved.firstByteMs).toBeLessThan(computed.firstByteMs);
    expect(moved.text).toBe(first.text);
    expect(taker.moves).toMatchObject({ restored: { count: 1 }, refused: {} });
    const receipt = await cluster.admin<{ readonly kvFrom?: object }>(
      'GET',
      `/admin/requests/${moved.requestId}`,
    );
    expect(receipt).toMatchObject({ kvFrom: { node: giver.node } });
  });
});
