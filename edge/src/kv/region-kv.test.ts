import { toBase64Url } from '@cognitora/protocol/bytes';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import type { KvFabric } from '@cognitora/protocol/kv-daemon';
import { type KvHolders, type KvPeer, parseKvFabric, parseKvHolders } from '@cognitora/protocol/kv-fabric';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { fleetSecret } from '../../testing/env.ts';
import { TestDatabase } from '../../testing/sql.ts';
import { rosterGatherMs } from './fabric.ts';
import { nodeCertificateMs } from './fleet-ca.ts';
import { RegionKv } from './region-kv.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

interface Host {
  readonly node: NodeId;
  readonly publicKey: string;
}

/** Any 32 bytes do for a key here. */
const hostOf = async (number: number): Promise<Host> => {
  const key = new Uint8Array(32).fill(number);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', key));
  return { node: nodeIdOf(hash), publicKey: toBase64Url(key) };
};

/** Until checks and signatures are over, which no fake timer holds: they wait in one line with these. */
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 40; turn += 1) await crypto.subtle.digest('SHA-256', new Uint8Array(1));
};

const gathered = async (ms = rosterGatherMs): Promise<void> => {
  await settled();
  vi.advanceTimersByTime(ms);
  await settled();
};

const epoch = 1 as Epoch;

const regionOf = (database = new TestDatabase()) => {
  const silent = new Set<NodeId>();
  const fabrics: (KvFabric & { readonly to: NodeId })[] = [];
  const answers: (KvHolders & { readonly to: NodeId })[] = [];
  const moving: string[] = [];
  const kv = new RegionKv({
    ...{ sql: database.sql, clock: () => Date.now(), fleetSecret, secret: 5, keyMapsMax: 1 },
    isLeased: (node) => !silent.has(node),
    tell: (to, frame, payload) => {
      if (frame === 'kvfabric') fabrics.push({ to, ...parseKvFabric(payload) });
      else answers.push({ to, ...parseKvHolders(payload) });
    },
    onPeer: (node, _, peer) => moving.push(`${node} ${peer?.addresses[0]?.host}`),
  });
  const told = ({ node, publicKey }: Host, reached: readonly Host[] = [], host = 'h'): void => {
    const reach = reached.map(
      (other) => ({ node: other.node, transport: 'tls', rttMs: 1, bytesPerMs: 1 }) as const,
    );
    const addresses = [{ transport: 'tls', host, port: 1 } as const];
    const peer: KvPeer = { publicKey, addresses, reach, replicas: [] };
    kv.heard(node, epoch, { type: 'peer', peer });
  };
  const join = (host: Host, reached: readonly Host[] = []): void => {
    kv.joined(host.node, epoch, `name of ${host.node}`);
    told(host, reached);
  };
  /** Whom the fabrics went to since the last look, and whom they named. */
  const sent = () => fabrics.splice(0).map(({ to, peers }) => [to, peers.map(({ node }) => node)]);
  return { kv, silent, fabrics, answers, moving, told, join, sent };
};

test('nodes that tell of their daemons are told of each other, once, with certificates of their own', async () => {
  const [one, other] = [await hostOf(1), await hostOf(2)];
  const { join, fabrics, moving } = regionOf();
  join(one);
  join(other);
  await settled();
  expect(fabrics).toEqual([]);
  await gathered();
  expect(fabrics.map(({ to, peers }) => [to, peers.length])).toEqual([
    [one.node, 2],
    [other.node, 2],
  ]);
  expect(fabrics[0]?.ca).toBe(fabrics[1]?.ca);
  expect(fabrics[0]?.certificate).not.toBe(fabrics[1]?.certificate);
  expect(fabrics[0]?.peers[1]).toEqual({
    ...{ node: other.node, name: `name of ${other.node}`, publicKey: other.publicKey },
    addresses: [{ transport: 'tls', host: 'h', port: 1 }],
  });
  expect(moving).toEqual([`${one.node} h`, `${other.node} h`]);
  fabrics.length = 0;
  await gathered(60_000);
  expect(fabrics).toEqual([]);
});

test('a daemon with another key than its node’s is not in the roster, and nobody’s KV moves there', async () => {
  const [one, other] = [await hostOf(1), await hostOf(2)];
  const { kv, join, sent, moving, told } = regionOf();
  join(one);
  join({ node: other.node, publicKey: one.publicKey });
  await gathered();
  expect(sent()).toEqual([[one.node, [one.node]]]);
  expect(moving).toEqual([`${one.node} h`, `${other.node} undefined`]);
  expect(kv.view).toMatchObject({ nodes: 1, refused: [{ node: other.node, why: 'foreign-key' }] });
  told(other);
  await gathered();
  expect(sent().map(([to]) => to)).toEqual([one.node, other.node]);
});

test('a node that is removed is out of the roster before any timer, and what it still says is nothing', async () => {
  const [one, other] = [await hostOf(1), await hostOf(2)];
  const { kv, join, sent, told } = regionOf();
  join(one);
  join(other);
  await gathered();
  sent();
  told(other, [], 'elsewhere');
  kv.remove(other.node);
  await settled();
  expect(sent()).toEqual([[one.node, [one.node]]]);
  told(other);
  await gathered();
  expect([sent(), kv.view.nodes]).toEqual([[], 1]);
});

test('holders are named that have a lease, are in the roster and are reached by who asks', async () => {
  const [one, two, three, four] = (await Promise.all([1, 2, 3, 4].map(hostOf))) as [Host, Host, Host, Host];
  const { kv, join, silent, answers } = regionOf();
  join(one, [two, three]);
  join(two, [one, three]);
  join(three);
  join(four);
  await settled();
  const digests = randomWords(1, 4);
  const none = new Uint32Array();
  for (const { node } of [two, three, four]) {
    kv.heard(node, epoch, {
      type: 'held',
      held: { isCleared: true, added: digests.slice(0, 2), removed: none },
    });
  }
  const ask = (number: number, { node }: Host) => {
    kv.heard(node, epoch, { type: 'ask', ask: { ask: number, digests } });
    return answers.pop();
  };
  const both = { to: one.node, ask: 7, nodes: [two.node, three.node], holders: [[0, 1], []] };
  expect(ask(7, one)).toEqual(both);
  expect(ask(8, two)).toEqual({ to: two.node, ask: 8, nodes: [three.node], holders: [[0], []] });
  // It reaches nobody.
  expect(ask(9, four)).toEqual({ to: four.node, ask: 9, nodes: [], holders: [[], []] });
  silent.add(two.node);
  expect(ask(1, one)?.nodes).toEqual([three.node]);
  kv.remove(three.node);
  expect(ask(2, one)?.nodes).toEqual([]);
  expect(kv.view).toMatchObject({ asked: 10, named: 4, keys: 2 });
});

test('a holder that is kept out of the roster is not named', async () => {
  const [one, other] = [await hostOf(1), await hostOf(2)];
  const { kv, join, answers } = regionOf();
  join(one, [other]);
  join({ node: other.node, publicKey: one.publicKey });
  await settled();
  const [digests, none] = [randomWords(1, 2), new Uint32Array()];
  kv.heard(other.node, epoch, { type: 'held', held: { isCleared: true, added: digests, removed: none } });
  kv.heard(one.node, epoch, { type: 'ask', ask: { ask: 1, digests } });
  expect(answers).toEqual([{ to: one.node, ask: 1, nodes: [], holders: [[]] }]);
});

test('what a daemon holds is forgotten with its link, and an older link says nothing', async () => {
  const [one, two] = [await hostOf(1), await hostOf(2)];
  const { kv, join } = regionOf();
  join(one, [two]);
  join(two);
  const held = { isCleared: false, added: randomWords(1, 2), removed: new Uint32Array() };
  kv.heard(two.node, epoch, { type: 'held', held });
  expect(kv.view.keys).toBe(1);
  kv.left(two.node, 0 as Epoch);
  expect(kv.view.keys).toBe(1);
  kv.joined(two.node, 2 as Epoch, 'two');
  expect(kv.view.keys).toBe(0);
  kv.heard(two.node, epoch, { type: 'held', held });
  expect(kv.view.keys).toBe(0);
});

test('an object that starts anew tells the first that dials of all that were there', async () => {
  const database = new TestDatabase();
  const [one, other] = [await hostOf(1), await hostOf(2)];
  const before = regionOf(database);
  before.join(one);
  before.join(other);
  await gathered();
  const { writes } = database;
  before.told(one, [other]);
  await gathered();
  expect(database.writes).toBe(writes);
  const { join, sent, kv } = regionOf(database);
  expect(kv.view).toMatchObject({ nodes: 2, linkedNodes: 0 });
  join(other);
  await gathered();
  expect(sent()).toEqual([[other.node, [one.node, other.node].sort()]]);
  kv.remove(one.node);
  await settled();
  expect(regionOf(database).kv.view.nodes).toBe(1);
});

test('certificates are renewed long before they expire', async () => {
  const host = await hostOf(1);
  const { join, fabrics } = regionOf();
  join(host);
  await gathered();
  for (let hour = 0; hour < (0.6 * nodeCertificateMs) / 3_600_000; hour += 1) await gathered(3_600_000);
  expect(fabrics).toHaveLength(2);
  expect(fabrics[0]?.certificate).not.toBe(fabrics[1]?.certificate);
});
