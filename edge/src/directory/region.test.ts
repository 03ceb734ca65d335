import type { ErrorCode } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, Region as RegionName, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import {
  dialSkewMsMax,
  leaseMsMax,
  queueLookMs,
  relinkMsMax,
  unservedMsMax,
} from '@cognitora/protocol/limits';
import type { ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { envOf } from '../../testing/env.ts';
import { ObjectState } from '../../testing/object-state.ts';
import { helloOf } from '../../testing/scripted-agent.ts';
import { TestDatabase } from '../../testing/sql.ts';
import { unwrap } from '../outcome.ts';
import type { Asked } from './asked.ts';
import { unreadPrompt } from './decision.ts';
import { Region } from './region.ts';

vi.mock('cloudflare:workers', () => import('../../testing/cloudflare-workers.ts'));

const startMs = 1_800_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: startMs });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const node = 'n' as NodeId;

/** A region's object over its database. */
const newRegion = (variables: Parameters<typeof envOf>[0] = {}, database = new TestDatabase()): Region => {
  const state = Object.assign(new ObjectState(), { storage: { sql: database.sql } });
  return new Region(state.state, envOf({ REGIONS: 'local', ...variables }));
};

/** A node with one replica of the model `m`. */
const join = (region: Region, name: NodeId, epoch = 1, state: ReplicaState = 'ready'): void => {
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const hello = helloOf({ replicas: [{ name: 'r0' as ReplicaName, state, models }] });
  region.joined(name, epoch as Epoch, hello, 'local' as RegionName);
};

/** A dial of that time, whose enrolment was looked up just now. */
const dialAt = (dialedAtMs: number, checkedAtMs = Date.now()) => ({ dialedAtMs, checkedAtMs });

test('each dial of a node must be newer than its last, and gets the next epoch', () => {
  const region = newRegion();
  expect(region.nextEpoch(node, dialAt(startMs))).toEqual({ value: 1 });
  expect(region.nextEpoch(node, dialAt(startMs))).toMatchObject({ refused: { code: 'identity_refused' } });
  expect(region.nextEpoch(node, dialAt(startMs + dialSkewMsMax))).toEqual({ value: 2 });
  expect(region.nextEpoch(node, dialAt(startMs + dialSkewMsMax - 1))).toMatchObject({
    refused: { code: 'identity_refused' },
  });
});

test('a last dial from before the clock was set back bars nobody, and is forgotten', () => {
  const region = newRegion();
  region.nextEpoch(node, dialAt(startMs));
  const nowMs = startMs - dialSkewMsMax - 1;
  vi.setSystemTime(nowMs);
  expect(region.nextEpoch(node, dialAt(nowMs))).toEqual({ value: 2 });
  expect(region.nextEpoch(node, dialAt(nowMs))).toMatchObject({ refused: { code: 'identity_refused' } });
  vi.setSystemTime(nowMs + 1);
  expect(region.nextEpoch(node, dialAt(nowMs + 1))).toEqual({ value: 3 });
});

test('after the clock was set back a node nobody vouches for keeps its lease for leaseMsMax at most', () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  vi.setSystemTime(startMs - 3_600_000);
  expect(region.status().ready).toBe(true);
  vi.setSystemTime(Date.now() + leaseMsMax);
  expect(region.status().ready).toBe(false);
});

test('an object that lost its memory gives replicas the cells that its predecessor gave them', () => {
  const database = new TestDatabase();
  const sizes = (region: Region) => region.modelViews()[0]?.cells.map(({ replicas }) => replicas);
  const region = newRegion({ CELL_REPLICAS_MAX: '2' }, database);
  for (const name of ['a', 'b', 'c']) join(region, name as NodeId);
  expect(sizes(region)).toEqual([2, 1]);
  const restarted = newRegion({ CELL_REPLICAS_MAX: '2' }, database);
  for (const name of ['c', 'a']) join(restarted, name as NodeId, 2);
  expect(sizes(restarted)).toEqual([1, 1]);
  join(restarted, 'b' as NodeId, 2);
  expect(sizes(restarted)).toEqual([1, 2]);
});

const requestId = 'chosen-by-a-client' as RequestId;

/** Asks the region to decide, after it was tried elsewhere. */
const ask = (region: Region, model = 'm', earlier: Asked['earlier'] = []) =>
  region.decide({
    ...{ requestId, region: 'local' as RegionName, model, prompt: unreadPrompt, isStream: true },
    ...{ earlier, occasion: 'first' as const },
    ...{ demand: { tenant: 'default', priority: 5, tokens: 1, answerTokens: 0 } },
    ...{ awaitsNodes: true, remainingMs: 10_000 },
  });

test('requests under one id are settled each for itself, in whatever order they end', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  const [first, second] = [unwrap(await ask(region)), unwrap(await ask(region))];
  const endOf = (totalMs: number) => ({ bodyBytes: 1, totalMs });
  region.settled([], [{ reservation: second.reservation, record: endOf(2) }]);
  region.settled([], [{ reservation: first.reservation, record: endOf(1) }]);
  expect(region.receipts(requestId)).toMatchObject([
    { outcome: 'placed', ended: { record: { totalMs: 2 } } },
    { outcome: 'placed', ended: { record: { totalMs: 1 } } },
  ]);
});

test('an object that lost its memory calls no model unknown until its nodes are back, or had time to be', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'], now: startMs });
  const codeOf = async (region: Region): Promise<string | undefined> => {
    const said = await ask(region, 'theirs');
    return 'refused' in said ? said.refused.code : undefined;
  };
  const database = new TestDatabase();
  const before = newRegion({ LAYOUT: 'object-per-node' }, database);
  for (const name of ['a', 'b'] as NodeId[]) before.nextEpoch(name, dialAt(startMs));
  const region = newRegion({ LAYOUT: 'object-per-node' }, database);
  const first = codeOf(region);
  // It waits as long as whoever was waiting.
  await vi.advanceTimersByTimeAsync(unservedMsMax - queueLookMs);
  expect(region.admission().models).toMatchObject([{ model: 'theirs', waiting: 1 }]);
  join(region, 'a' as NodeId);
  await vi.advanceTimersByTimeAsync(2 * queueLookMs);
  expect(await first).toBe('no_capacity');
  expect(await codeOf(region)).toBe('no_capacity');
  vi.setSystemTime(startMs + relinkMsMax);
  expect(await codeOf(region)).toBe('model_not_found');
  vi.setSystemTime(startMs);
  join(region, 'b' as NodeId);
  expect(await codeOf(region)).toBe('model_not_found');
});

test('of a host that acknowledged nothing no other replica is asked, of one that failed one is', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const [r0, r1] = ['r0', 'r1'].map((name) => ({
    name: name as ReplicaName,
    state: 'ready' as const,
    models,
  }));
  if (r0 === undefined || r1 === undefined) throw new Error('there are two');
  region.joined(node, 1 as Epoch, helloOf({ replicas: [r0, r1] }), 'local' as RegionName);
  const after = (code: ErrorCode) =>
    ask(region, 'm', [{ region: 'local' as RegionName, node, replica: r0.name, code }]);
  expect(unwrap(await after('engine_unreachable')).replica).toBe('r1');
  expect(await after('ack_timeout')).toMatchObject({ refused: { code: 'no_capacity' } });
});

test('a decision that cannot be told is booked nowhere', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  // No parser lets such a name in.
  const replicas = [{ name: '\ud800' as ReplicaName, state: 'ready' as const, models }];
  region.joined(node, 1 as Epoch, helloOf({ replicas }), 'local' as RegionName);
  expect(await ask(region)).toMatchObject({ refused: { code: 'internal' } });
  expect(region.status().nodes[0]?.live).toBe(0);
  expect(region.receipts(requestId)).toMatchObject([{ ended: { atMs: startMs } }]);
});

test('a node’s object tells how requests ended, and who fails is shown as failing', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  for (let count = 0; count < 3; count += 1) {
    const { reservation } = unwrap(await ask(region));
    region.settled([], [{ reservation, record: { bodyBytes: 1, totalMs: 1 }, verdict: 'failed' }]);
  }
  expect(region.status().nodes[0]?.replicas[0]?.failing).toBe(true);
  const [receipt] = region.receipts(requestId);
  expect(receipt).toMatchObject({ ended: { verdict: 'failed' } });
});

test('a refusal is remembered, and tells the client why nobody was chosen', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node, 1, 'draining');
  const earlier = [{ region: 'weur' as RegionName, code: 'link_lost' as const }];
  expect(await ask(region, 'm', earlier)).toMatchObject({
    refused: { code: 'no_capacity', route: 'replicas=1; draining=1' },
  });
  expect(await ask(region, 'nobody')).toMatchObject({
    refused: { code: 'model_not_found', route: 'replicas=0' },
  });
  expect(region.receipts(requestId)).toMatchObject([
    { outcome: 'refused', code: 'model_not_found', keptBack: [] },
    { outcome: 'refused', earlier, keptBack: [{ node, replica: 'r0', why: 'draining' }] },
  ]);
});

test('a request that was tried elsewhere before says so in its receipt and to its client', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  const earlier = [{ region: 'weur' as RegionName, code: 'no_capacity' as const }];
  expect(unwrap(await ask(region, 'm', earlier)).receipt.route).toMatch(/; after=weur:no_capacity$/);
  expect(region.receipts(requestId)).toMatchObject([
    { outcome: 'placed', region: 'local', earlier, promptBlocks: 0, blockTokens: 64 },
  ]);
});

test('a policy is kept for a model that nobody serves, and told to be so', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  expect(region.usePolicy('m', 'round-robin', undefined)).toEqual({ value: { isServed: true } });
  expect(region.usePolicy('typo', 'round-robin', 'random')).toEqual({ value: { isServed: false } });
  expect(region.modelViews().map(({ model, policy, cells }) => [model, policy, cells.length])).toEqual([
    ['m', 'round-robin', 1],
    ['typo', 'round-robin', 0],
  ]);
  expect(region.modelViews()[1]?.shadow?.policy).toBe('random');
  region.usePolicy('typo', undefined, undefined);
  expect(region.modelViews().map(({ model }) => model)).toEqual(['m']);
});

/** Why nobody was chosen, as the newest receipt has it. */
const whyNot = async (region: Region): Promise<readonly string[]> => {
  await ask(region);
  const [receipt] = region.receipts(requestId);
  return receipt?.outcome === 'refused' ? receipt.keptBack.map(({ why }) => why) : ['placed'];
};

test('of a node that nobody vouches for, nothing is asked once its lease is over, until somebody does', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  vi.setSystemTime(startMs + leaseMsMax - 1);
  expect(await whyNot(region)).toEqual(['placed']);
  vi.setSystemTime(startMs + leaseMsMax);
  expect(await whyNot(region)).toEqual(['unleased']);
  expect(await ask(region)).toMatchObject({
    refused: { code: 'no_capacity', route: 'replicas=1; unleased=1' },
  });
  expect(region.status()).toMatchObject({ ready: false, models: [], nodes: [{ node }] });
  // Of an older link, or of a node that this object never heard of, it is none.
  const vouched = (of: NodeId, epoch: number): boolean => region.vouched(of, epoch as Epoch, []);
  expect([vouched(node, 0), vouched('other' as NodeId, 1)]).toEqual([false, false]);
  expect(await whyNot(region)).toEqual(['unleased']);
  expect(vouched(node, 1)).toBe(true);
  expect(await whyNot(region)).toEqual(['placed']);
  expect(region.status()).toMatchObject({ ready: true, models: [{ id: 'm' }] });
  vi.setSystemTime(Date.now() + leaseMsMax);
  expect(await whyNot(region)).toEqual(['unleased']);
});

test('what was booked and never came to its node is given back once its object tells what it carries', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  join(region, node);
  const [carried, stray] = [unwrap(await ask(region)), unwrap(await ask(region))];
  const live = (): number | undefined => region.status().nodes[0]?.live;
  vi.setSystemTime(startMs + leaseMsMax);
  region.vouched(node, 1 as Epoch, [carried.reservation]);
  expect(live()).toBe(2);
  vi.setSystemTime(startMs + leaseMsMax + 1);
  region.vouched(node, 1 as Epoch, [carried.reservation]);
  expect(live()).toBe(1);
  region.settled([], [{ reservation: stray.reservation, record: undefined }]);
  expect(live()).toBe(1);
  region.settled([], [{ reservation: carried.reservation, record: undefined }]);
  expect(live()).toBe(0);
});

test('a cordon outlives the node’s links and the object, and receipts name it', async () => {
  const database = new TestDatabase();
  const region = newRegion({ LAYOUT: 'object-per-node' }, database);
  join(region, node);
  await ask(region);
  expect(region.cordon(node)).toEqual({ wasCordoned: false, live: 1 });
  expect(await whyNot(region)).toEqual(['cordoned']);
  expect(await ask(region)).toMatchObject({
    refused: { code: 'no_capacity', route: 'replicas=1; cordoned=1' },
  });
  join(region, node, 2);
  expect(await whyNot(region)).toEqual(['cordoned']);
  const restarted = newRegion({ LAYOUT: 'object-per-node' }, database);
  join(restarted, node, 3);
  expect(await whyNot(restarted)).toEqual(['cordoned']);
  expect(restarted.status()).toMatchObject({ ready: false, nodes: [{ cordoned: true }] });
  vi.setSystemTime(startMs + 1_000);
  expect(restarted.cordon(node)).toEqual({ wasCordoned: true, live: 0 });
  expect(restarted.cordonsOf([node, 'other' as NodeId])).toEqual(new Map([[node, startMs]]));
  restarted.uncordon(node);
  expect(await whyNot(restarted)).toEqual(['placed']);
  expect(newRegion({}, database).cordonsOf([node]).size).toBe(0);
});

test('a node that is cordoned before it ever linked gets nothing', async () => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  region.cordon(node);
  join(region, node);
  expect(await whyNot(region)).toEqual(['cordoned']);
});

test.each(['prefill', 'decode'] as const)('a replica that does %s alone gets no request', async (role) => {
  const region = newRegion({ LAYOUT: 'object-per-node' });
  const report = (as: ReplicaRole | undefined) =>
    region.reported(node, 1 as Epoch, [
      {
        ...{ name: 'r0' as ReplicaName, state: 'ready', ...(as === undefined ? {} : { role: as }) },
        models: [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }],
      },
    ]);
  join(region, node);
  report(role);
  expect(await whyNot(region)).toEqual([role]);
  expect(region.status().nodes[0]?.replicas[0]?.role).toBe(role);
  // So nobody is told to ask for it.
  expect(region.status().models).toEqual([]);
  report('both');
  expect(await whyNot(region)).toEqual(['placed']);
  expect(region.status().models.map(({ id }) => id)).toEqual(['m']);
  report(role);
  report(undefined);
  expect(await whyNot(region)).toEqual(['placed']);
});

test('of a node that was removed no older dial and no older link counts, and nothing is known', async () => {
  const region = newRegion();
  region.nextEpoch(node, dialAt(startMs));
  join(region, node);
  region.cordon(node);
  vi.setSystemTime(startMs + 10);
  await region.remove(node, 'local' as RegionName);
  expect(region.status().nodes).toEqual([]);
  expect(region.cordonsOf([node]).size).toBe(0);
  const gone = { refused: { code: 'not_enrolled' } };
  // Looked up before the removal, it arrives after it; signed by a clock that is ahead.
  expect(region.nextEpoch(node, dialAt(startMs + 500, startMs + 9))).toMatchObject(gone);
  expect(() => join(region, node, 2)).toThrow(/removed this node/);
  // It enrolled again.
  expect(region.nextEpoch(node, dialAt(startMs + 501, startMs + 11))).toEqual({ value: 2 });
  join(region, node, 2);
  expect(await whyNot(region)).not.toEqual(['cordoned']);
});

test('what is kept of a node goes once no dial from before its removal can come', async () => {
  const database = new TestDatabase();
  const region = newRegion({}, database);
  const rows = () => database.sql.exec('SELECT node FROM nodes ORDER BY node').toArray();
  for (const name of ['a', 'b', 'c'] as NodeId[]) region.nextEpoch(name, dialAt(startMs));
  await region.remove('a' as NodeId, 'local' as RegionName);
  await region.remove('b' as NodeId, 'local' as RegionName);
  vi.setSystemTime(startMs + 2 * dialSkewMsMax + 1);
  // This one came back.
  region.nextEpoch('b' as NodeId, dialAt(Date.now()));
  expect(rows()).toHaveLength(3);
  await region.remove('c' as NodeId, 'local' as RegionName);
  expect(rows()).toEqual([{ node: 'b' }, { node: 'c' }]);
});
