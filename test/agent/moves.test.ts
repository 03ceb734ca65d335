/**
 * KV that moves: what a real engine on one host computed is restored on another host when the first one is gone, and
 * the answer is the same. What is damaged on the way is never shown to an engine, and the request is answered all the
 * same.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MovesStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import type { AgentSpec } from '../harness/cluster.ts';
import { type EmbeddedEngine, startEmbedded } from '../harness/embedded.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { ask, type Served, words } from '../routing/conversations.ts';
import { replicaViews } from '../routing/fleet.ts';

/** Prompts of the same length, none of which shares a block with another one. */
const prompts = { moved: 11, damaged: 12, computed: 13 };

describe('two hosts with a directory in common', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
  const engines = new Map<string, EmbeddedEngine>();
  const first = new Map<number, Served>();

  const handover = (): string => join(fixture.cluster.directory, 'handover');
  const saved = (): readonly string[] => readdirSync(handover()).filter((name) => name.endsWith('.kv'));
  const chat = (seed: number): Promise<Served> =>
    ask(fixture.cluster, { system: words(seed, 400), user: 'What now?', maxTokens: 12 });
  const moves = (host: string): boolean =>
    fixture.cluster.log
      .text()
      .split('\n')
      .some((line) => line.includes(host) && line.includes('"kv moves"'));

  const startHost = async (name: string): Promise<AgentSpec> => {
    const { cluster } = fixture;
    const slots = join(cluster.directory, `slots-${name}`);
    mkdirSync(slots, { recursive: true });
    mkdirSync(handover(), { recursive: true });
    const live = `tcp://127.0.0.1:${await freePort()}`;
    const replay = `tcp://127.0.0.1:${await freePort()}`;
    const options = ['--slot-save-path', slots, '--kv-events', live, '--kv-events-replay', replay];
    const engine = await startEmbedded(cluster, `engine ${name}`, options);
    engines.set(name, engine);
    const kvMoves = { slots: [slots], handover: handover() };
    return { name, engines: [engine.url], kvEvents: [{ live, replay }], kvMoves };
  };

  const movesOf = async (host: string): Promise<MovesStatus> => {
    const file = join(fixture.cluster.directory, 'agents', host, 'status.json');
    const { url } = JSON.parse(readFileSync(file, 'utf8')) as { url: string };
    const { replicas } = (await (await fetch(`${url}/status`)).json()) as StatusAnswer;
    const moved = replicas[0]?.moves;
    if (moved === undefined) throw new Error(`the KV of ${host} does not move`);
    return moved;
  };

  const restores = async (host: string): Promise<number> => {
    const page = await (await fetch(`${engines.get(host)?.url}/metrics`)).text();
    return Number(/^cognitora_engine_slot_restores_total (\d+)$/m.exec(page)?.[1]);
  };

  beforeAll(async () => {
    const { cluster } = fixture;
    const [here, there] = [await startHost('here'), await startHost('there')];
    await cluster.startAgent(here);
    await until(
      'exact trust',
      async () => (await replicaViews(cluster)).get('here')?.caches[0]?.trust === 'exact',
    );
    await until('the engine here to be probed', () => moves('here'));
    for (const [index, seed] of [prompts.moved, prompts.damaged].entries()) {
      first.set(seed, await chat(seed));
      await until('the answer to be saved', () => saved().length === index + 1);
    }
    await cluster.startAgent(there);
    await until(
      'exact trust',
      async () => (await replicaViews(cluster)).get('there')?.caches[0]?.trust === 'exact',
    );
    await until('the engine there to be probed', () => moves('there'));
    await cluster.program('here').stop();
    await until('one host', async () => (await replicaViews(cluster)).size === 1);
  });

  test('what one computed is restored on the other, and the edge knows it', async () => {
    const before = await restores('there');
    const computed = await chat(prompts.computed);
    expect(await restores('there')).toBe(before);
    const moved = await chat(prompts.moved);
    process.stdout.write(
      `first byte: recomputed ${computed.firstByteMs.toFixed(0)} ms, restored ${moved.firstByteMs.toFixed(0)} ms, ` +
        `${moved.cachedTokens} of ${moved.promptTokens} tokens cached\n`,
    );
    expect(await restores('there')).toBe(before + 1);
    const { saved: kept, restored, canMove } = await movesOf('there');
    expect([canMove, restored.count, kept.count >= 1]).toEqual([true, 1, true]);
    expect(restored.bytes).toBeGreaterThan(1_000_000);
    expect(computed.cachedTokens).toBeLessThan(64);
    expect(moved.cachedTokens).toBeGreaterThan(0.9 * moved.promptTokens);
    // What a move is for: the engine has a word to say before it could have computed the prompt.
    expect(moved.firstByteMs).toBeLessThan(computed.firstByteMs);
    expect(moved.text).toBe(first.get(prompts.moved)?.text);
    expect(moved.text).not.toBe('');
    const again = await chat(prompts.moved);
    expect(again.trust).toBe('exact');
    // It computed one token of the prompt: the engine's events told of those that were restored.
    expect(again.predictedTokens).toBeGreaterThan(0.5 * again.cachedTokens);
    expect(await restores('there')).toBe(before + 1);
  });

  test('a damaged file is never shown to the engine, and the request is answered', async () => {
    for (const name of saved()) {
      const path = join(handover(), name);
      const bytes = readFileSync(path);
      const at = Math.floor(bytes.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    }
    const before = await restores('there');
    const damaged = await chat(prompts.damaged);
    expect(damaged.text).toBe(first.get(prompts.damaged)?.text);
    expect(damaged.cachedTokens).toBeLessThan(64);
    expect(await restores('there')).toBe(before);
    expect(fixture.cluster.log.text()).toContain('the envelope is damaged');
    expect((await movesOf('there')).refused).toMatchObject({ damaged: 1 });
  });
});
