/** Who is of the fleet, what is reached by which path, and what is told of it. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { parseFromDaemon, peerTransports } from '@cognitora/protocol/kv-daemon';
import { kvPeerAddressesMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test, vi } from 'vitest';
import { PeerCounters } from './counts.ts';
import { ping } from './exchange.ts';
import { Fabric } from './fabric.ts';
import { askedMsMax, probeMsMean, probesMax } from './limits.ts';
import { newNodeKey } from './testing/authority.ts';
import { Fleet } from './testing/fleet.ts';
import { authority, certifiedOf, newValue } from './testing/pair.ts';

vi.mock('node:os', async (original) => {
  const real = await original<typeof import('node:os')>();
  return { ...real, networkInterfaces: vi.fn(real.networkInterfaces) };
});

test('a host with many addresses tells as many as fit, by each transport, and says so', async () => {
  const plain = { netmask: '', family: 'IPv4', mac: '', internal: false, cidr: null } as const;
  const cards = Array.from({ length: 9 }, (_, at) => [`eth${at}`, [{ ...plain, address: `10.0.0.${at}` }]]);
  vi.mocked(networkInterfaces).mockReturnValueOnce(Object.fromEntries(cards));
  const errors: string[] = [];
  const { peers } = await new Fleet().daemon({
    listen: [{ host: '0.0.0.0', port: 0 }],
    onError: (message) => errors.push(message),
  });
  const self = { type: 'self', ...peers.fabric.self } as const;
  expect(parseFromDaemon(JSON.stringify(self))).toEqual(self);
  const hosts = ['10.0.0.0', '10.0.0.1', '10.0.0.2', '10.0.0.3'];
  expect(self.addresses.map(({ transport, host }) => [host, transport])).toEqual(
    hosts.flatMap((host) => peerTransports.map((name) => [host, name])),
  );
  expect(self.addresses).toHaveLength(kvPeerAddressesMax);
  expect(errors).toMatchObject([/10\.0\.0\.4.*10\.0\.0\.8/]);
});

test('every address of every peer is looked at, and the better path of each is told', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell();
  expect(one.peers.reach).toEqual([]);
  await one.peers.fabric.probeAll();
  const [reach] = one.peers.reach;
  expect(reach?.node).toBe(other.node);
  expect(reach?.rttMs).toBeGreaterThan(0);
  const [member] = one.peers.members;
  expect(member?.paths.map(({ transport, isReached }) => [transport, isReached])).toEqual(
    peerTransports.map((name) => [name, true]),
  );
  const best = member?.paths.toSorted(
    (a, b) =>
      (a.rttMs ?? 0) + 2 ** 20 / (a.bytesPerMs ?? 1) - ((b.rttMs ?? 0) + 2 ** 20 / (b.bytesPerMs ?? 1)),
  )[0];
  expect(reach?.transport).toBe(best?.transport);
});

test('a path that fails is left for the other, and reach says so', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  const dead = createSocket('udp4');
  await new Promise<void>((resolve) => dead.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => void dead.close());
  const { port } = dead.address();
  fleet.members[1] = {
    ...other.member,
    addresses: [
      { transport: 'quic', host: '127.0.0.1', port },
      { transport: 'tls', host: '127.0.0.1', port },
      ...other.member.addresses.filter(({ transport }) => transport === 'tls'),
    ],
  };
  fleet.tell();
  other.put('k', newValue(10));
  expect((await one.peers.tier.fetch('k', { node: other.node }))?.bytes.length).toBe(10);
  await one.peers.fabric.probeAll();
  const paths = one.peers.members[0]?.paths ?? [];
  expect(paths.map(({ isReached }) => isReached)).toEqual([false, false, true]);
  expect(one.peers.reach).toMatchObject([{ node: other.node, transport: 'tls' }]);
});

test('who is not the hash of its key, and the node itself, are no peers', async () => {
  const fleet = new Fleet();
  const one = await fleet.daemon();
  const [key, other] = [newNodeKey(), newNodeKey()];
  fleet.members.push({
    node: key.node,
    name: 'swapped',
    publicKey: other.publicKey.toString('base64url'),
    addresses: [],
  });
  fleet.members.push({ node: key.node, name: 'short', publicKey: 'AAAA', addresses: [] });
  fleet.tell();
  expect(one.peers.members).toEqual([]);
  expect(one.peers.fabric.isAlone).toBe(true);
});

test('a roster told again keeps its paths and their figures', async () => {
  const fleet = new Fleet();
  const one = await fleet.daemon();
  await fleet.daemon();
  fleet.tell();
  await one.peers.fabric.probeAll();
  const before = one.peers.reach;
  await fleet.daemon();
  fleet.tell();
  expect(one.peers.reach).toEqual(before);
  expect(one.peers.members).toHaveLength(2);
});

test('a certificate that is none is told of, and the one before goes on', async () => {
  const fleet = new Fleet();
  const errors: string[] = [];
  const [one, other] = [
    await fleet.daemon({ onError: (message) => errors.push(message) }),
    await fleet.daemon(),
  ];
  fleet.tell('tls');
  one.peers.update({ ca: authority.ca, certificate: 'none', peers: fleet.members });
  expect(errors).toHaveLength(1);
  other.put('k', newValue(10));
  const held = await one.peers.tier.fetch('k', { node: other.node });
  expect(held?.bytes.length).toBe(10);
  held?.release();
});

test('a certificate that is none keeps nobody in who left, by whichever transport', async () => {
  const fleet = new Fleet();
  const [holder, asker] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell();
  const paths = asker.peers.fabric.pathsTo(holder.node);
  const channels = await Promise.all(paths.map(({ trunk }) => trunk.take()));
  await Promise.all(channels.map((channel) => ping(channel, Buffer.alloc(8), () => 0)));
  const again = await Promise.all(paths.map(({ trunk }) => trunk.take()));
  holder.peers.update({ ca: authority.ca, certificate: 'none', peers: [] });
  const asked = again.map((channel) => ping(channel, Buffer.alloc(8), () => 0).catch(({ code }) => code));
  expect((await Promise.all(asked)).filter((answer) => typeof answer === 'number')).toEqual([]);
  expect(paths.map(({ transport }) => transport)).toEqual(peerTransports);
});

test('what is reached is told when it changes', async () => {
  const fleet = new Fleet();
  const one = await fleet.daemon();
  const other = await fleet.daemon();
  const told = (): unknown => one.lines.findLast(({ type }) => type === 'reach');
  expect(told()).toEqual({ type: 'reach', peers: [] });
  fleet.tell('tls');
  await expect
    .poll(told, { timeout: 5_000 })
    .toMatchObject({ peers: [{ node: other.node, transport: 'tls' }] });
  fleet.remove(other.node);
  fleet.tell('tls');
  await expect.poll(told, { timeout: 5_000 }).toEqual({ type: 'reach', peers: [] });
});

test('a path that waited for its look and was dropped meanwhile is not looked at again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const ours = newNodeKey();
  const fabric = new Fabric({
    ...{ key: ours, counters: new PeerCounters(), nowMs: () => 0, random: () => 0.5 },
    onChannel: () => {},
  });
  onTestFinished(() => fabric.close());
  const keys = Array.from({ length: probesMax + 1 }, () => newNodeKey());
  const peers = keys.map(({ node, publicKey }) => ({
    ...{ node, name: 'host', publicKey: publicKey.toString('base64url') },
    addresses: [{ transport: 'tls', host: '127.0.0.1', port: 1 } as const],
  }));
  fabric.update({ ...certifiedOf(ours), peers });
  const looks = keys.map(({ node }) => {
    const [path] = fabric.pathsTo(node);
    if (path === undefined) throw new Error('no path');
    return vi.spyOn(path.trunk, 'take').mockReturnValue(new Promise(() => {}));
  });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(looks.filter(({ mock }) => mock.calls.length > 0)).toHaveLength(probesMax);
  fabric.update({ ...certifiedOf(ours), peers: [] });
  await vi.advanceTimersByTimeAsync(probeMsMean);
  expect(vi.getTimerCount()).toBe(0);
});

test('a member that is slow at many addresses does not keep others from being looked at', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const ours = newNodeKey();
  const fabric = new Fabric({
    ...{ key: ours, counters: new PeerCounters(), nowMs: () => 0, random: () => 0.5 },
    onChannel: () => {},
  });
  onTestFinished(() => fabric.close());
  const [slow, other] = [newNodeKey(), newNodeKey()];
  const peerOf = ({ node, publicKey }: typeof slow, addresses: number) => ({
    ...{ node, name: 'host', publicKey: publicKey.toString('base64url') },
    addresses: Array.from({ length: addresses }, (_, at) => ({
      ...({ transport: 'tls', host: '127.0.0.1', port: 1 + at } as const),
    })),
  });
  fabric.update({ ...certifiedOf(ours), peers: [peerOf(slow, kvPeerAddressesMax), peerOf(other, 1)] });
  const looksAt = ({ node }: typeof slow) =>
    fabric.pathsTo(node).map(({ trunk }) => vi.spyOn(trunk, 'take').mockReturnValue(new Promise(() => {})));
  const [slows, others] = [looksAt(slow), looksAt(other)];
  const looked = (spies: typeof slows): number => spies.filter(({ mock }) => mock.calls.length > 0).length;
  await vi.advanceTimersByTimeAsync(1_000);
  expect([looked(slows), looked(others)]).toEqual([1, 1]);
  // One that says nothing has an end too, and the next address its turn.
  await vi.advanceTimersByTimeAsync(kvPeerAddressesMax * askedMsMax);
  expect(looked(slows)).toBe(kvPeerAddressesMax);
});
