/** What agents say on their links, byte by byte, as it reaches a region's decisions; and what it does about silence. */
import { frameTypes } from '@cognitora/protocol/frame';
import type { NodeId, Region as RegionName, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import {
  encodeKvDelta,
  encodeKvFeed,
  encodeKvSnapshot,
  type KvFeedOpen,
  parseKvWant,
} from '@cognitora/protocol/kv';
import { cellPlaceMsMax, leaseMsMax, sweepMs } from '@cognitora/protocol/limits';
import { parseGoaway, type ReplicaReport } from '@cognitora/protocol/link';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { envOf } from '../../testing/env.ts';
import { ObjectState } from '../../testing/object-state.ts';
import { ScriptedAgent } from '../../testing/scripted-agent.ts';
import { TestDatabase } from '../../testing/sql.ts';
import { linkRequest } from '../link/carry-request.ts';
import { unwrap } from '../outcome.ts';
import type { PromptView } from './decision.ts';
import { Region } from './region.ts';
import { snapshotRestMsMin, snapshotSilenceMsMax } from './snapshot-turns.ts';

vi.mock('cloudflare:workers', () => import('../../testing/cloudflare-workers.ts'));

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'], now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const local = 'local' as RegionName;
const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
const ready = (name: string): ReplicaReport => ({ name: name as ReplicaName, state: 'ready', models });

const chainOf = (first: number, blocks: number): Uint32Array => randomWords(first * 1_000, 2 * blocks);
const promptOf = (chain: Uint32Array): PromptView => ({
  ...{ profile: plainProfile.id, chain, bytes: (chain.length / 2) * 256 + 100, blockBytes: 256 },
});

const open: KvFeedOpen = {
  ...{ feed: 0, replica: 'r0' as ReplicaName, model: 'm', trust: 'exact', profile: plainProfile },
};

/** In which a link sends what was queued. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** A region that hosts its links, and agents that dial it. */
const regionWithLinks = (variables: Parameters<typeof envOf>[0] = {}) => {
  const object = Object.assign(new ObjectState(), { storage: { sql: new TestDatabase().sql } });
  const region = new Region(object.state, envOf({ REGIONS: local, ...variables }));
  const dial = async (name: string) => {
    const node = name as NodeId;
    await region.fetch(linkRequest({ region: local, node, dialedAtMs: Date.now(), checkedAtMs: Date.now() }));
    const socket = object.accepted.at(-1);
    if (socket === undefined) throw new Error('no socket was accepted');
    const agent = new ScriptedAgent();
    const say = (bytes: Uint8Array): void =>
      region.webSocketMessage(socket as unknown as WebSocket, bytes.slice().buffer);
    say(agent.hello({ name, replicas: [ready('r0')] }));
    /** Requests for snapshots so far. */
    const wanted = async () => {
      await nextTurn();
      for (const message of socket.sent.splice(0)) agent.hear(message);
      return agent.heard
        .filter(({ type }) => type === frameTypes.kvwant)
        .map((one) => parseKvWant(one.payload));
    };
    /** Its replica's cache is known from now on: it holds these digests. */
    const hold = async (digests: Uint32Array): Promise<void> => {
      say(agent.frame(frameTypes.kvfeed, 0, encodeKvFeed(open)));
      const { request = 0 } = (await wanted()).at(-1) ?? {};
      const blocks = [{ tier: 'device' as const, digests }];
      const snapshot = { feed: 0, request, sequence: 0, part: 0, isLast: true, blocks };
      say(agent.frame(frameTypes.kvsnapshot, 0, encodeKvSnapshot(snapshot)));
    };
    return { agent, socket, say, wanted, hold };
  };
  let requests = 0;
  const decide = async (prompt: PromptView = promptOf(new Uint32Array())) => {
    requests += 1;
    const requestId = `req-${requests}` as RequestId;
    const asked = { requestId, region: local, model: 'm', prompt, isStream: true };
    const occasion = { earlier: [], occasion: 'first' as const };
    const demand = { tenant: 'default', priority: 5, tokens: 1, answerTokens: 0 };
    const booked = unwrap(
      await region.decide({ ...asked, ...occasion, demand, awaitsNodes: true, remainingMs: 1_000 }),
    );
    const considered = region
      .receipts(requestId)
      .flatMap((one) => (one.outcome === 'placed' ? one.considered : []));
    const of = (node: string, replica = 'r0') =>
      considered.find((one) => one.node === node && one.replica === replica);
    return { ...booked, of };
  };
  const sizes = () => region.modelViews()[0]?.cells.map(({ replicas }) => replicas) ?? [];
  return { region, dial, decide, sizes };
};

test('the way to a node, as its agent measures it, is in the cost of all its replicas, later ones too', async () => {
  const { dial, decide } = regionWithLinks();
  await dial('near');
  const { agent, say } = await dial('far');
  say(agent.json(frameTypes.telemetry, 0, { rttMs: 200 }));
  say(agent.json(frameTypes.replicas, 0, { replicas: [ready('r0'), ready('r1')] }));
  const { node, of } = await decide();
  expect(node).toBe('near');
  for (const replica of ['r0', 'r1']) {
    expect(of('far', replica)).toMatchObject({ rttMs: 200, cost: (of('near')?.cost ?? 0) + 200 });
  }
});

test('a link holds its lease for so long after its last pong or word, and has it again with the next', async () => {
  const { dial, decide, region } = regionWithLinks();
  const { agent, say, socket } = await dial('silent');
  const after = (ms: number) => vi.setSystemTime(Date.now() + ms);
  after(leaseMsMax - 1);
  expect((await decide()).node).toBe('silent');
  after(1);
  await expect(decide()).rejects.toThrow(
    expect.objectContaining({ code: 'no_capacity', route: 'replicas=1; unleased=1' }),
  );
  expect(region.status()).toMatchObject({ ready: false, models: [] });
  socket.pongedAt = new Date();
  expect((await decide()).node).toBe('silent');
  after(leaseMsMax);
  await expect(decide()).rejects.toThrow(expect.objectContaining({ route: 'replicas=1; unleased=1' }));
  say(agent.json(frameTypes.telemetry, 0, { rttMs: 1 }));
  expect((await decide()).node).toBe('silent');
});

test('what a replica evicts for what it stores is in the cost of a prompt that is new to it', async () => {
  const { dial, decide } = regionWithLinks();
  const [full, roomy] = [await dial('full'), await dial('roomy')];
  for (const { hold } of [full, roomy]) await hold(chainOf(1, 100));
  const device = (digests: Uint32Array) => [{ tier: 'device' as const, digests }];
  const delta = { feed: 0, sequence: 1, isCleared: false };
  const both = encodeKvDelta({ ...delta, added: device(chainOf(2, 100)), removed: device(chainOf(1, 100)) });
  full.say(full.agent.frame(frameTypes.kvdelta, 0, both));
  roomy.say(
    roomy.agent.frame(
      frameTypes.kvdelta,
      0,
      encodeKvDelta({ ...delta, added: device(chainOf(2, 100)), removed: [] }),
    ),
  );
  const { node, of } = await decide(promptOf(chainOf(3, 40)));
  expect(node).toBe('roomy');
  expect([of('full')?.evictionShare, of('roomy')?.evictionShare]).toEqual([0.5, 0]);
  expect(of('full')?.cost).toBeGreaterThan(1.5 * (of('roomy')?.cost ?? 0));
});

test.each(['a decision', 'a word of any agent about its cache'])(
  'a snapshot that never came is asked for again with %s',
  async (occasion) => {
    const { dial, decide } = regionWithLinks();
    const [silent, other] = [await dial('silent'), await dial('other')];
    silent.say(silent.agent.frame(frameTypes.kvfeed, 0, encodeKvFeed(open)));
    expect(await silent.wanted()).toHaveLength(1);
    for (const forwardMs of [snapshotSilenceMsMax, snapshotRestMsMin]) {
      vi.setSystemTime(Date.now() + forwardMs);
      for (const { socket } of [silent, other]) socket.pongedAt = new Date();
      if (occasion === 'a decision') await decide();
      else await other.hold(new Uint32Array());
    }
    expect(await silent.wanted()).toHaveLength(2);
  },
);

test('a node that is silent is gone with its replicas, by the object’s own timer', async () => {
  const { region, dial } = regionWithLinks();
  await dial('n');
  expect(region.status().nodes).toHaveLength(1);
  vi.advanceTimersByTime(leaseMsMax + 2 * sweepMs);
  expect([region.status().nodes, region.status().links]).toEqual([[], 0]);
});

test('the place in a cell of who stayed away is given up with a decision', async () => {
  const { region, dial, decide, sizes } = regionWithLinks({ CELL_REPLICAS_MAX: '2' });
  for (const name of ['a', 'b', 'c']) await dial(name);
  region.left('a' as NodeId, 1 as never);
  vi.setSystemTime(Date.now() + cellPlaceMsMax);
  await dial('d');
  expect(sizes()).toEqual([1, 2]);
  await decide();
  await dial('e');
  expect(sizes()).toEqual([2, 2]);
});

test('a policy that is chosen while a model is live decides the next request, in cells to come as well', async () => {
  const { region, dial, decide } = regionWithLinks({ CELL_REPLICAS_MAX: '3' });
  for (const name of ['a', 'b', 'c']) await dial(name);
  expect((await decide()).receipt.route).toContain('policy=predicted-latency');
  unwrap(region.usePolicy('m', 'round-robin', 'least-loaded'));
  const turn = [await decide(), await decide(), await decide()];
  expect(new Set(turn.map(({ node }) => node)).size).toBe(3);
  expect(turn.map(({ receipt }) => receipt.route.includes('policy=round-robin'))).toEqual([true, true, true]);
  expect(region.modelViews()[0]).toMatchObject({ shadow: { policy: 'least-loaded', decisions: 3 } });
  await dial('d');
  const later = await decide();
  expect([later.node, later.receipt.route.includes('policy=round-robin')]).toEqual(['d', true]);
  expect(region.modelViews()[0]?.shadow?.decisions).toBe(4);
  // A cell that closes takes neither the count nor the other's number with it.
  for (const name of ['a', 'b', 'c']) region.left(name as NodeId, 1 as never);
  expect(region.modelViews()[0]).toMatchObject({ shadow: { decisions: 4 }, cells: [{ cell: 1 }] });
});

test('a cordoned node’s cache stays known: what it heard meanwhile counts once it is back', async () => {
  const { region, dial, decide } = regionWithLinks();
  const [holder, other] = [await dial('holder'), await dial('other')];
  await other.hold(chainOf(9, 1));
  region.cordon('holder' as NodeId);
  await holder.hold(chainOf(1, 40));
  expect((await decide(promptOf(chainOf(1, 40)))).node).toBe('other');
  region.uncordon('holder' as NodeId);
  const { node, of } = await decide(promptOf(chainOf(1, 40)));
  expect(node).toBe('holder');
  expect(of('holder')?.cachedTokens).toBeGreaterThan(0);
});

test('the link of a node that is removed ends with a code', async () => {
  const { region, dial } = regionWithLinks();
  await dial('stays');
  const { agent, socket } = await dial('gone');
  await region.remove('gone' as NodeId, local);
  expect(region.status().nodes.map(({ node }) => node)).toEqual(['stays']);
  await nextTurn();
  for (const message of socket.sent.splice(0)) agent.hear(message);
  const said = agent.heard.find(({ type }) => type === frameTypes.goaway);
  expect(parseGoaway(said?.payload ?? new Uint8Array()).code).toBe('not_enrolled');
  expect(socket.closed).toBe('1008 not_enrolled');
});
