/**
 * What one host's engine computed another one's restores, each with its own kvcached: the edge says who holds a
 * prompt's beginning, and the bytes go from daemon to daemon. A real engine on both; the first gets no more requests.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { MovesStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { type KvPeer, kvDaemonPaths, kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import { parseKvPeers } from '@cognitora/protocol/kv-daemon-bodies';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import type { AgentSpec, NodeView } from '../harness/cluster.ts';
import { startEmbedded } from '../harness/embedded.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from '../routing/conversations.ts';

const kvcachedMain = join(import.meta.dirname, '../../kvcache/src/main.ts');

describe('two hosts with a kvcached each', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));

  /** More than 3,000 tokens, the same each time. */
  const chat = (): Promise<Served> =>
    ask(fixture.cluster, { system: words(21, 520), user: 'What now?', maxTokens: 8 });

  const dataOf = (host: string): string => join(fixture.cluster.directory, `kv-${host}`);

  /** The agent's key is there before either of them starts: the daemon has the same. */
  const startDaemon = async (host: string): Promise<void> => {
    const { cluster } = fixture;
    const agent = join(cluster.directory, 'agents', host);
    mkdirSync(agent, { recursive: true });
    const identity = join(agent, 'node.key');
    const { privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(identity, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    cluster.startProgram(`kvcached ${host}`, [
      ...[kvcachedMain, '--data-dir', dataOf(host), '--ram', '256MiB', '--disk', '0', '--identity', identity],
      ...['--listen', '127.0.0.1:0', '--status', '127.0.0.1:0', '--peers', `127.0.0.1:${await freePort()}`],
    ]);
  };

  const startEngine = async (host: string): Promise<AgentSpec> => {
    const { cluster } = fixture;
    const slots = join(cluster.directory, `slots-${host}`);
    mkdirSync(slots);
    const [live, replay] = [`tcp://127.0.0.1:${await freePort()}`, `tcp://127.0.0.1:${await freePort()}`];
    const options = ['--slot-save-path', slots, '--kv-events', live, '--kv-events-replay', replay];
    const engine = await startEmbedded(cluster, `engine ${host}`, options);
    const kvMoves = { slots: [slots], kvcached: join(dataOf(host), kvDaemonSocketName) };
    return { name: host, engines: [engine.url], kvEvents: [{ live, replay }], kvMoves };
  };

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

  /** The other host, as this one's daemon sees it. */
  const peerOf = async (host: string): Promise<KvPeer | undefined> => {
    const socketPath = join(dataOf(host), kvDaemonSocketName);
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const asked = request({ socketPath, path: kvDaemonPaths.peers }, (response) => {
        buffer(response).then(resolve, reject);
      });
      asked.once('error', reject).end();
    });
    return parseKvPeers(answer).peers[0];
  };

  const isKnown = ({ replicas }: NodeView): boolean => replicas[0]?.caches[0]?.trust === 'exact';

  beforeAll(async () => {
    const { cluster } = fixture;
    await Promise.all(['here', 'there'].map(startDaemon));
    // The first engine makes the model's file, which the other one finds.
    const here = await startEngine('here');
    const there = startEngine('there').then((spec) => cluster.startAgent(spec));
    await Promise.all([cluster.startAgent(here), there]);
    for (const host of ['here', 'there']) {
      await cluster.node(host, isKnown);
      // The edge knows that the engine's KV moves, and that the host reaches the other one.
      await cluster.node(host, ({ kv }) => kv?.reach.length === 1 && kv.replicas.length === 1);
    }
  });

  test('what one computed is restored on the other by way of their daemons, and the receipt shows it', async () => {
    const { cluster } = fixture;
    await cordon('there', 'PUT');
    const computed = await chat();
    await cluster.node('here', ({ replicas }) => (replicas[0]?.caches[0]?.hostBlocks ?? 0) > 0);
    await cordon('there', 'DELETE');
    await cordon('here', 'PUT');
    const moved = await chat();
    process.stdout.write(
      `first byte: computed ${computed.firstByteMs.toFixed(0)} ms, restored ${moved.firstByteMs.toFixed(0)} ms, ` +
        `${moved.cachedTokens} of ${moved.promptTokens} tokens cached\n`,
    );
    const [giver, taker] = [await statusOf('here'), await statusOf('there')];
    expect([computed, moved].map(({ replica }) => replica)).toEqual([`${giver.node}/r0`, `${taker.node}/r0`]);
    expect(taker.moves).toMatchObject({ restored: { count: 1 }, refused: {} });
    expect(moved.promptTokens).toBeGreaterThan(3_000);
    expect(moved.cachedTokens).toBeGreaterThan(0.9 * moved.promptTokens);
    expect(computed.cachedTokens).toBeLessThan(64);
    expect(moved.firstByteMs).toBeLessThan(computed.firstByteMs);
    expect(moved.text).toBe(computed.text);
    expect((await peerOf('there'))?.receivedBytes).toBeGreaterThan(taker.moves.restored.bytes);
    const path = `/admin/requests/${moved.requestId}`;
    const { decisions } = await cluster.admin<{ readonly decisions: readonly object[] }>('GET', path);
    expect(decisions).toMatchObject([{ kvFrom: { node: giver.node } }]);
  });
});
