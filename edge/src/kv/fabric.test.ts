import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import { kvFabricAwayMsMax, kvFabricNodesMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { Fabric } from './fabric.ts';

const [a, b, c] = ['na' as NodeId, 'nb' as NodeId, 'nc' as NodeId];
const first = 1 as Epoch;
const second = 2 as Epoch;

const peerOf = (host: string, reach: readonly PeerReach[] = []): KvPeer => ({
  publicKey: `key of ${host}`,
  addresses: [{ transport: 'tls', host, port: 1 }],
  reach,
  replicas: [],
});

const fabricOf = (nodes: readonly NodeId[], nowMs = 0): Fabric => {
  const fabric = new Fabric([], nowMs);
  for (const node of nodes) {
    fabric.joined(node, first, `host ${node}`, nowMs);
    fabric.told(node, peerOf(node), true);
  }
  return fabric;
};

const listed = (fabric: Fabric): string[] => fabric.roster.map(({ node }) => node);
const due = (fabric: Fabric, nowMs: number, renewAtMs = 1e9): string[] =>
  fabric.due(nowMs, renewAtMs).map(({ node }) => node);

test('who told of a daemon is in the roster with its name, and all of them are told once', () => {
  const fabric = fabricOf([a, b]);
  fabric.joined(c, first, 'no daemon', 0);
  expect(fabric.roster[1]).toEqual({
    ...{ node: b, name: 'host nb', publicKey: 'key of nb' },
    addresses: [{ transport: 'tls', host: b, port: 1 }],
  });
  expect([due(fabric, 0), due(fabric, 1)]).toEqual([[a, b], []]);
  fabric.told(c, peerOf(c), true);
  expect([due(fabric, 2), due(fabric, 3)]).toEqual([[a, b, c], []]);
});

test('what says the same again, or whom a node reaches, is no change for the others; an address is', () => {
  const fabric = fabricOf([a, b]);
  due(fabric, 0);
  const reach = { node: a, transport: 'tls', rttMs: 1, bytesPerMs: 1 } as const;
  fabric.told(b, peerOf(b, [reach]), true);
  expect(due(fabric, 1)).toEqual([]);
  expect(fabric.reachOf(b)?.get(a)).toEqual(reach);
  fabric.told(b, peerOf('elsewhere', [reach]), true);
  expect(due(fabric, 2)).toEqual([a, b]);
});

test('the nearest are the first, by what a transfer takes from there', () => {
  const fabric = fabricOf([a]);
  const reached = (node: string, rttMs: number, bytesPerMs: number): PeerReach => {
    return { node: node as NodeId, transport: 'tls', rttMs, bytesPerMs };
  };
  fabric.told(
    a,
    peerOf(a, [
      reached('slow', 1, 1e3),
      reached('far', 90, 1e6),
      reached('near', 2, 1e6),
      reached(a, 0, 1e9),
    ]),
    true,
  );
  expect([...(fabric.reachOf(a)?.keys() ?? [])]).toEqual(['near', 'far', 'slow']);
});

test('a key that is not the node’s ends what it told before', () => {
  const fabric = fabricOf([a, b]);
  due(fabric, 0);
  fabric.told(b, peerOf('elsewhere'), false);
  expect([listed(fabric), fabric.reachOf(b), fabric.refused]).toEqual([
    [a],
    undefined,
    [{ node: b, why: 'foreign-key' }],
  ]);
  expect(due(fabric, 1)).toEqual([a]);
  fabric.told(b, peerOf(b), true);
  expect([listed(fabric), fabric.refused]).toEqual([[a, b], []]);
});

test('who is away stays in the roster for a while, and is told when it is back', () => {
  const fabric = fabricOf([a, b]);
  due(fabric, 0);
  fabric.left(b, first, 1_000);
  expect([listed(fabric), fabric.linkedCount, fabric.reachOf(b)]).toEqual([[a, b], 1, undefined]);
  fabric.joined(b, second, 'host nb', 2_000);
  expect(due(fabric, 2_000)).toEqual([]);
  fabric.told(b, peerOf(b), true);
  expect(due(fabric, 2_000)).toEqual([b]);
  fabric.left(b, first, 3_000);
  expect(fabric.linkedCount).toBe(2);
  fabric.left(b, second, 4_000);
  fabric.expire(4_000 + kvFabricAwayMsMax - 1);
  expect(listed(fabric)).toEqual([a, b]);
  expect(fabric.dueAtMs(5_000)).toBe(4_000 + kvFabricAwayMsMax);
  fabric.expire(4_000 + kvFabricAwayMsMax);
  expect([listed(fabric), due(fabric, 1e6)]).toEqual([[a], [a]]);
});

test('a node that is linked and tells of no daemon any more goes as one that is away', () => {
  const fabric = fabricOf([a, b]);
  fabric.joined(b, second, 'host nb', 5_000);
  fabric.expire(5_000 + kvFabricAwayMsMax);
  expect(listed(fabric)).toEqual([a]);
});

test('a node that is removed leaves the roster at once, and the others need not wait', () => {
  const fabric = fabricOf([a, b, c]);
  due(fabric, 0);
  fabric.told(c, peerOf('elsewhere'), true);
  expect(fabric.dueAtMs(0)).toBeGreaterThan(0);
  fabric.remove(b);
  expect([fabric.dueAtMs(0), due(fabric, 0), listed(fabric)]).toEqual([0, [a, c], [a, c]]);
  fabric.told(b, peerOf(b), true);
  expect(listed(fabric)).toEqual([a, c]);
});

test('a certificate is renewed although nothing changed', () => {
  const fabric = fabricOf([a]);
  expect(due(fabric, 0, 5_000)).toEqual([a]);
  expect([fabric.dueAtMs(10), due(fabric, 4_999, 9_000)]).toEqual([5_000, []]);
  expect(due(fabric, 5_000, 10_000)).toEqual([a]);
  expect(fabric.dueAtMs(6_000)).toBe(10_000);
});

test('a roster that was kept is there after a restart, and goes with those who do not come back', () => {
  const kept = fabricOf([a, b]).roster;
  const fabric = new Fabric(kept, 1_000);
  expect([listed(fabric), fabric.dueAtMs(1_000)]).toEqual([[a, b], undefined]);
  fabric.joined(a, second, 'host na', 2_000);
  fabric.told(a, peerOf(a), true);
  expect(due(fabric, 2_000)).toEqual([a]);
  fabric.expire(1_000 + kvFabricAwayMsMax);
  expect(listed(fabric)).toEqual([a]);
});

test('to a full roster nobody is added but in the place of who is away', () => {
  const nodes = Array.from({ length: kvFabricNodesMax }, (_, at) => `n${at}` as NodeId);
  const fabric = fabricOf(nodes);
  fabric.joined(a, first, 'a', 0);
  fabric.told(a, peerOf(a), true);
  expect([fabric.rosterCount, fabric.isListed(a), fabric.refused]).toEqual([
    kvFabricNodesMax,
    false,
    [{ node: a, why: 'roster-full' }],
  ]);
  fabric.left('n7' as NodeId, first, 20);
  fabric.left('n3' as NodeId, first, 10);
  fabric.told(a, peerOf(a), true);
  expect(['n3', 'n7', a].map((node) => fabric.isListed(node as NodeId))).toEqual([false, true, true]);
  expect(fabric.refused).toEqual([]);
});

test('the roster of the longest names that there are stays within a frame', () => {
  const fabric = new Fabric([], 0);
  for (let at = 0; at < kvFabricNodesMax; at += 1) {
    const node = `n${at}` as NodeId;
    fabric.joined(node, first, '\u0001'.repeat(256), 0);
    fabric.told(node, peerOf('x'.repeat(253)), true);
  }
  const bytes = JSON.stringify(fabric.roster).length;
  expect([bytes < 240 * 1024, bytes > 200 * 1024, fabric.rosterCount < kvFabricNodesMax]).toEqual([
    true,
    true,
    true,
  ]);
});
