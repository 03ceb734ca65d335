import { createHash, randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { type FromDaemon, parseToDaemon, type ToDaemon } from '@cognitora/protocol/kv-daemon';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type FleetLink, KvFleet, type OwnKeys } from './kv-fleet.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const raw = randomBytes(32);
const publicKey = raw.toString('base64url');
const node = nodeIdOf(createHash('sha256').update(raw).digest());
const there = `n${'b'.repeat(26)}` as NodeId;
const reach = { node: there, transport: 'quic', rttMs: 0.5, bytesPerMs: 2_000 } as const;
const self: FromDaemon = {
  type: 'self',
  publicKey,
  addresses: [{ transport: 'tls', host: '10.0.0.1', port: 1 }],
};
const fabric = { ca: 'c', certificate: 'd', peers: [] };
const hex = (digest: number): string => digest.toString(16).padStart(16, '0');

/** The daemon's end of its socket. */
class FakeSocket extends Duplex {
  readonly heard: ToDaemon[] = [];

  override _read(): void {}

  override _write(bytes: Buffer, _: string, done: () => void): void {
    for (const line of bytes.toString().trim().split('\n')) this.heard.push(parseToDaemon(line));
    done();
  }

  say(...lines: readonly FromDaemon[]): void {
    this.push(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

const started = ({ isAway = false }: { isAway?: boolean } = {}) => {
  const sockets: FakeSocket[] = [];
  const daemon = { isAway };
  const told: string[] = [];
  const said: string[] = [];
  const peers: KvPeer[] = [];
  const own: OwnKeys = {
    found: async () => void told.push('found'),
    lost: () => told.push('lost'),
    knows: (hash) => hash === hex(9),
    dropped: async (hashes) => void told.push(`dropped ${hashes.map((hash) => Number(`0x${hash}`))}`),
    namespaceOf: () => 'n0123456789abcdef',
  };
  const fleet = new KvFleet({
    node,
    open: async () => {
      if (daemon.isAway) throw new Error('connect ENOENT');
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    own,
    random: () => 1,
    log: (_level, event, { why = '' } = {}) => said.push(`${event} ${why}`.trim()),
  });
  const link = (): FleetLink & { readonly frames: string[] } => {
    const frames: string[] = [];
    const count = (words: Uint32Array): string => [...words].join('.');
    return {
      frames,
      kvPeer: (peer) => {
        peers.push(peer);
        frames.push(`peer ${peer.addresses.length} ${peer.reach.length} ${peer.replicas.length}`);
      },
      kvHeld: ({ isCleared, added, removed }) =>
        frames.push(`held${isCleared ? ' cleared' : ''} +${count(added)} -${count(removed)}`),
      kvAsk: ({ ask, digests }) => frames.push(`ask ${ask}: ${count(digests)}`),
    };
  };
  const mover = {
    name: 'r0' as ReplicaName,
    fingerprint: new Uint8Array(32),
    bytesPerToken: 0.2,
    insertBytesPerMs: 9,
  };
  const settle = (ms = 200): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  return { fleet, link, sockets, daemon, told, said, peers, movers: () => [mover], settle };
};

test('what the daemon says goes on to the edge, and what the edge says to the daemon', async () => {
  const { fleet, link, sockets, peers, movers, told, settle } = started();
  const one = link();
  fleet.linked(one, movers);
  await settle();
  const [socket] = sockets;
  socket?.say(self, { type: 'reach', peers: [reach] });
  await settle();
  socket?.say(
    { type: 'held', isCleared: true, added: [hex(1), hex(9), hex(2)], removed: [] },
    { type: 'held', isCleared: false, added: [], removed: [hex(9), hex(1)] },
    { type: 'ask', ask: 7, digests: [hex(0x0102)] },
  );
  await settle();
  const big = 2 ** 24;
  expect(one.frames).toEqual([
    'peer 1 1 1',
    // Eight bytes as they stand, the first the lowest of the low word; the agent's own key is not told.
    `held cleared +0.${big}.0.${2 * big} -`,
    `held + -0.${9 * big}.0.${big}`,
    `ask 7: 0.${2 * big + 2 ** 16}`,
  ]);
  expect(peers[0]).toEqual({
    publicKey,
    addresses: self.type === 'self' ? self.addresses : [],
    reach: [reach],
    replicas: [{ name: 'r0', namespace: 'n0123456789abcdef', bytesPerToken: 1, insertBytesPerMs: 9 }],
  });
  expect(told).toEqual(['found', 'dropped 9,1']);
  expect(fleet.status).toEqual({ isJoined: true, hosts: 1 });
  expect([fleet.reachOf(there), fleet.reachOf(node)]).toEqual([reach, undefined]);
  fleet.fabric(one, fabric);
  fleet.holders(one, { ask: 7, nodes: [there], holders: [[0]] });
  expect(socket?.heard).toEqual([
    { type: 'fabric', ...fabric },
    { type: 'holders', ask: 7, holders: [[there]] },
  ]);
});

test('on a new link all is told anew, and what the old one said counts no more', async () => {
  const { fleet, link, sockets, told, movers, settle } = started();
  const [one, other] = [link(), link()];
  fleet.linked(one, movers);
  await settle();
  sockets[0]?.say(self, { type: 'reach', peers: [reach] });
  await settle();
  fleet.linked(other, movers);
  fleet.unlinked(one);
  fleet.fabric(one, fabric);
  await settle();
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  expect(fleet.reachOf(there)).toBeUndefined();
  sockets[1]?.say(self);
  await settle();
  expect([one.frames, other.frames]).toEqual([['peer 1 1 1'], ['peer 1 0 1']]);
  expect(sockets[1]?.heard).toEqual([]);
  expect(told).toEqual(['found', 'lost', 'found']);
  fleet.stop();
  expect(sockets[1]?.destroyed).toBe(true);
});

test('a daemon that is not there is asked again, less and less often, and told of once', async () => {
  const { fleet, link, sockets, daemon, said, movers, settle } = started({ isAway: true });
  const one = link();
  fleet.linked(one, movers);
  fleet.fabric(one, fabric);
  await settle(120_000);
  expect(said).toEqual(['kvcached joins no fleet Error: connect ENOENT']);
  expect(fleet.status).toEqual({ isJoined: false, hosts: 0, why: 'Error: connect ENOENT' });
  daemon.isAway = false;
  await settle(120_000);
  expect(sockets).toHaveLength(1);
  expect(sockets[0]?.heard).toEqual([{ type: 'fabric', ...fabric }]);
});

test('a daemon that goes is nobody for the edge until it is back', async () => {
  const { fleet, link, sockets, told, movers, settle } = started();
  const one = link();
  fleet.linked(one, movers);
  await settle();
  sockets[0]?.say(self, { type: 'reach', peers: [reach] });
  await settle();
  sockets[0]?.push(null);
  await settle(10);
  expect(one.frames).toEqual(['peer 1 1 1', 'peer 0 0 0', 'held cleared + -']);
  expect(fleet.reachOf(there)).toBeUndefined();
  expect(told).toEqual(['found', 'lost']);
  expect(fleet.status).toEqual({ isJoined: false, hosts: 0, why: 'it ended' });
  await settle(60_000);
  expect(sockets).toHaveLength(2);
});

test('a daemon with the key of another host is told of, and nothing of it to the edge', async () => {
  const { fleet, link, sockets, said, movers, settle } = started();
  const one = link();
  fleet.linked(one, movers);
  await settle();
  const other = { ...self, publicKey: randomBytes(32).toString('base64url') } as FromDaemon;
  sockets[0]?.say(other, { type: 'reach', peers: [reach] });
  sockets[0]?.say({ type: 'held', isCleared: true, added: [hex(1)], removed: [] });
  await settle();
  expect(one.frames).toEqual([]);
  expect(said.at(-1)).toMatch(/--identity/);
  expect(fleet.status).toMatchObject({ isJoined: false, why: expect.stringContaining('--identity') });
});

test('one that says nothing else is asked less and less often', async () => {
  const { fleet, link, sockets, movers, settle } = started();
  fleet.linked(link(), movers);
  for (let seconds = 0; seconds < 60; seconds += 1) {
    const latest = sockets.at(-1);
    if (latest?.destroyed === false) latest.push('{"type":"self"}\n');
    await settle(1_000);
  }
  expect(sockets.length).toBeGreaterThan(2);
  expect(sockets.length).toBeLessThan(15);
});

test('a line that nobody understands ends the connection, and the next one begins', async () => {
  const { fleet, link, sockets, movers, settle } = started();
  fleet.linked(link(), movers);
  await settle();
  sockets[0]?.push('{"type":"held"}\n');
  await settle(60_000);
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, false]);
});
