/** Values from peers: that they come, that they come once, and that nothing else ever does. */
import { type PeerTransport, peerTransports } from '@cognitora/protocol/kv-daemon';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checksumIn, sumOf } from '../tiers/checksum.ts';
import type { NodeKey } from './identity.ts';
import { connectionsPerPeerMax } from './limits.ts';
import { newNodeKey } from './testing/authority.ts';
import { type Daemon, Fleet } from './testing/fleet.ts';
import { certifiedOf, newHolder, newValue } from './testing/pair.ts';
import type { Channel } from './transport.ts';
import { frameOf, headerOf, readFrame } from './wire.ts';

const mebibyte = 2 ** 20;

/** Paths are looked at when a test does so, however slow the machine. */
const unlooked = { random: () => 1_000 };

/** One that asks and one that holds a value of a MiB. */
const two = async (
  only?: PeerTransport,
): Promise<{ fleet: Fleet; asker: Daemon; holder: Daemon; value: Buffer }> => {
  const fleet = new Fleet();
  const [asker, holder] = [await fleet.daemon(unlooked), await fleet.daemon(unlooked)];
  const value = newValue(mebibyte);
  holder.put('k', value);
  fleet.says('k', holder.node);
  fleet.tell(only);
  return { fleet, asker, holder, value };
};

const failuresOf = ({ peers }: Daemon): string[] => Object.keys(peers.counts.tier.failures);
const sum = (rows: readonly { readonly bytesIn: number }[]): number =>
  rows.reduce((all, { bytesIn }) => all + bytesIn, 0);

test.each([...peerTransports])('a value that a peer holds comes by %s, and stays', async (name) => {
  const { fleet, asker, holder, value } = await two(name);
  const asked = asker.store.get('k');
  expect(asked).toBeInstanceOf(Promise);
  const held = await asked;
  expect(held?.bytes.equals(value)).toBe(true);
  held?.release();
  expect(asker.store.get('k')).not.toBeInstanceOf(Promise);
  expect(fleet.asked).toHaveLength(1);
  expect(asker.store.counts).toMatchObject({ peerHits: 1, misses: 0 });
  const row = asker.peers.counts.peers.find(({ transport, fetched }) => transport === name && fetched === 1);
  expect(row).toMatchObject({ node: holder.node, bytesIn: mebibyte, failures: {} });
  await expect
    .poll(() => holder.peers.counts.peers.find(({ served }) => served === 1))
    .toMatchObject({ node: asker.node, transport: name, bytesOut: mebibyte });
});

test('a fetch that a path is known to be too slow for is not begun', async () => {
  const { asker, holder } = await two('tls');
  const [path] = asker.peers.fabric.pathsTo(holder.node);
  if (path === undefined) throw new Error('no path');
  path.rttMs = 1;
  path.bytesPerMs = mebibyte / 60_000;
  const options = { node: holder.node, deadlineMs: 10_000 };
  expect(await asker.peers.tier.fetch('k', options)).toBeUndefined();
  expect(failuresOf(asker)).toEqual(['late']);
  expect(sum(asker.peers.counts.peers)).toBe(0);
  path.bytesPerMs = mebibyte;
  const held = await asker.peers.tier.fetch('k', options);
  expect(held?.bytes.length).toBe(mebibyte);
  held?.release();
});

test('however much is fetched, what is short has a connection at once', async () => {
  const fleet = new Fleet();
  const slow = { bytesPerSecondMax: mebibyte, ...unlooked };
  const [asker, holder] = [await fleet.daemon(unlooked), await fleet.daemon(slow)];
  fleet.tell('tls');
  const keys = Array.from({ length: connectionsPerPeerMax }, (_, at) => `k${at}`);
  for (const key of keys) holder.put(key, newValue(mebibyte));
  const over: string[] = [];
  const fetching = keys.map(async (key) => {
    (await asker.peers.tier.fetch(key, { node: holder.node, deadlineMs: 1_500 }))?.release();
    over.push(key);
  });
  await expect.poll(() => sum(asker.peers.counts.peers)).toBeGreaterThan(0);
  const channel = await asker.peers.fabric.pathsTo(holder.node)[0]?.trunk.take();
  channel?.giveBack();
  expect(over).toEqual([]);
  await Promise.all(fetching);
});

test('how fast a path is shows in what it brings, unless a cap made it slow', async () => {
  const { fleet, asker, holder } = await two('tls');
  const capped = await fleet.daemon({ bytesPerSecondMax: 64 * mebibyte, ...unlooked });
  fleet.tell('tls');
  for (const { peers } of [asker, capped]) (await peers.tier.fetch('k', { node: holder.node }))?.release();
  const known = [asker, capped].map(({ peers }) => peers.fabric.pathsTo(holder.node)[0]?.bytesPerMs);
  expect(known).toEqual([expect.any(Number), undefined]);
});

test('what a value has left of its time goes with it', async () => {
  const { fleet, asker, holder } = await two();
  const expiresAtMs = Date.now() + 60_000;
  holder.put('timed', newValue(10), expiresAtMs);
  fleet.says('timed', holder.node);
  await asker.read('timed');
  expect(Math.abs((asker.store.expiresAtMs('timed') ?? 0) - expiresAtMs)).toBeLessThan(10_000);
  await asker.read('k');
  expect(asker.store.expiresAtMs('k')).toBeNull();
});

test('many who ask for the same key at once cause one fetch, and each holds the value', async () => {
  const { asker, holder, value } = await two();
  const all = await Promise.all(Array.from({ length: 50 }, () => asker.store.get('k')));
  expect(all.every((held) => held?.bytes.equals(value))).toBe(true);
  for (const held of all) held?.release();
  expect(asker.peers.counts.tier).toMatchObject({ fetches: 1, inFlight: 0 });
  expect(sum(asker.peers.counts.peers)).toBe(mebibyte);
  expect(holder.store.counts.ramHits).toBe(1);
});

test('nobody holds it: asked once a second, in questions of many keys', async () => {
  let ms = 0;
  const fleet = new Fleet();
  const asker = await fleet.daemon({ nowMs: () => ms });
  await fleet.daemon();
  fleet.tell();
  const keys = Array.from({ length: 100 }, (_, index) => `k${index}`);
  for (let round = 0; round < 3; round += 1) await Promise.all(keys.map((key) => asker.read(key)));
  expect(fleet.asked.map((digests) => digests.length)).toEqual([64, 36]);
  ms = 1_001;
  expect(await asker.store.exists('k0')).toBe(false);
  expect(fleet.asked).toHaveLength(3);
  expect(asker.peers.counts.tier.unheld).toBe(300);
});

test('a key exists when a peer is said to hold it', async () => {
  const { asker } = await two();
  expect(asker.store.has('k')).toBe(false);
  expect(await asker.store.exists('k')).toBe(true);
  expect(await asker.store.exists('other')).toBe(false);
  await asker.read('k');
  expect(asker.store.exists('k')).toBe(true);
});

test('a daemon alone asks nobody, and a miss is no promise', async () => {
  const fleet = new Fleet();
  const alone = await fleet.daemon();
  fleet.tell();
  expect(alone.store.get('k')).toBeUndefined();
  expect(alone.store.exists('k')).toBe(false);
  expect(fleet.asked).toEqual([]);
});

test('a directory that does not answer, or answers nonsense, is a miss, and asked again', async () => {
  const fleet = new Fleet();
  const answers = [[], undefined, [[], []]];
  fleet.answer = () => answers.shift();
  const asker = await fleet.daemon();
  const alone = await fleet.daemon({ hasAgent: false });
  fleet.tell();
  for (let count = 0; count < 3; count += 1) expect(await asker.read('k')).toBeUndefined();
  expect(fleet.asked).toHaveLength(3);
  expect(await alone.read('k')).toBeUndefined();
});

test('a holder that has it no more is a miss, and is not asked again for a while', async () => {
  let ms = 0;
  const fleet = new Fleet();
  const [asker, holder] = [await fleet.daemon({ nowMs: () => ms }), await fleet.daemon()];
  fleet.says('k', holder.node);
  fleet.tell('tls');
  expect(await asker.read('k')).toBeUndefined();
  expect(await asker.read('k')).toBeUndefined();
  expect(asker.peers.counts.tier).toMatchObject({ fetches: 1, failures: { missing: 1 } });
  holder.put('k', newValue(10));
  ms = 5_001;
  expect((await asker.read('k'))?.length).toBe(10);
});

test('what was stored here meanwhile is not replaced by what comes', async () => {
  const { asker } = await two();
  const coming = asker.read('k');
  await new Promise((resolve) => setImmediate(resolve));
  asker.put('k', Buffer.from('newer'));
  expect((await coming)?.toString()).toBe('newer');
  expect((await asker.read('k'))?.toString()).toBe('newer');
});

test('no room in memory is a miss, and costs none', async () => {
  const fleet = new Fleet();
  const [asker, holder] = [await fleet.daemon({ ramBytesMax: 65_536 }), await fleet.daemon()];
  holder.put('k', newValue(mebibyte));
  fleet.says('k', holder.node);
  fleet.tell();
  expect(await asker.read('k')).toBeUndefined();
  expect(failuresOf(asker)).toEqual(['no room']);
  expect(asker.store.ram.counts.bytes).toBe(0);
});

test('beyond its deadline a value is a miss, and its room is given back', async () => {
  const fleet = new Fleet();
  const asker = await fleet.daemon();
  const holder = await fleet.daemon({ bytesPerSecondMax: mebibyte });
  holder.put('k', newValue(8 * mebibyte));
  fleet.tell();
  expect(await asker.peers.tier.fetch('k', { node: holder.node, deadlineMs: 300 })).toBeUndefined();
  await expect.poll(() => asker.store.ram.counts.bytes).toBe(0);
  expect(failuresOf(asker)).toEqual(['late']);
  expect(asker.store.has('k')).toBe(false);
});

describe.each([...peerTransports])('over %s', (name) => {
  test('a holder that goes in the midst: another brings the rest, and no byte twice', async () => {
    const fleet = new Fleet();
    const asker = await fleet.daemon();
    const holders = [
      await fleet.daemon({ bytesPerSecondMax: 4 * mebibyte }),
      await fleet.daemon({ bytesPerSecondMax: 40 * mebibyte }),
    ] as const;
    const value = newValue(3 * mebibyte);
    for (const { put } of holders) put('k', value);
    fleet.says('k', ...holders.map(({ node }) => node));
    fleet.tell(name);
    const coming = asker.read('k');
    const from = ({ node }: Daemon): number =>
      sum(asker.peers.counts.peers.filter((row) => row.node === node));
    await expect.poll(() => from(holders[0]) + from(holders[1]), { interval: 5 }).toBeGreaterThan(500_000);
    const first = from(holders[0]) > 0 ? holders[0] : holders[1];
    await first.peers.close();
    expect((await coming)?.equals(value)).toBe(true);
    const [one, other] = holders.map(from);
    expect((one ?? 0) > 0 && (other ?? 0) > 0).toBe(true);
    // At most the frame that was under way came twice, and the one behind it that a transport had read.
    expect((one ?? 0) + (other ?? 0)).toBeLessThanOrEqual(3 * mebibyte + 2 * 262_144);
  });

  test('a holder that goes in the midst, and nobody else: a miss', async () => {
    const { fleet, asker } = await two(name);
    const slow = await fleet.daemon({ bytesPerSecondMax: mebibyte });
    slow.put('l', newValue(3 * mebibyte));
    fleet.says('l', slow.node);
    fleet.tell(name);
    const coming = asker.read('l');
    await expect.poll(() => sum(asker.peers.counts.peers)).toBeGreaterThan(200_000);
    await slow.peers.close();
    expect(await coming).toBeUndefined();
    expect(asker.store.ram.counts.bytes).toBe(0);
  });

  test('a peer that is removed in the midst is cut at both ends', async () => {
    const fleet = new Fleet();
    const [asker, holder] = [await fleet.daemon(), await fleet.daemon({ bytesPerSecondMax: mebibyte })];
    holder.put('k', newValue(3 * mebibyte));
    fleet.says('k', holder.node);
    fleet.tell(name);
    const coming = asker.read('k');
    await expect.poll(() => sum(asker.peers.counts.peers)).toBeGreaterThan(200_000);
    fleet.remove(asker.node);
    fleet.tell(name);
    expect(await coming).toBeUndefined();
    expect(asker.store.ram.counts.bytes).toBe(0);
    expect(await asker.peers.tier.fetch('k', { node: holder.node })).toBeUndefined();
  });

  test('a holder that is removed here is cut here, whatever it knows itself', async () => {
    const fleet = new Fleet();
    const [asker, holder] = [await fleet.daemon(), await fleet.daemon({ bytesPerSecondMax: mebibyte })];
    holder.put('k', newValue(3 * mebibyte));
    fleet.says('k', holder.node);
    fleet.tell(name);
    const coming = asker.read('k');
    await expect.poll(() => sum(asker.peers.counts.peers)).toBeGreaterThan(200_000);
    fleet.remove(holder.node);
    asker.peers.update({ ...certifiedOf(asker.key), peers: fleet.members });
    const startedMs = performance.now();
    expect(await coming).toBeUndefined();
    // At the rate it had, it would have taken seconds.
    expect(performance.now() - startedMs).toBeLessThan(1_500);
  });

  const part = newValue(100_000);
  const head = {
    name: 'head',
    total: 200_000,
    checksum: checksumIn(sumOf(Buffer.concat([part, part]))),
    from: 0,
    leftMs: 0,
  } as const;
  const data = [headerOf('data', part.length), part];
  const lies: [what: string, says: readonly Buffer[], code: string][] = [
    ['what is no frame', [Buffer.from('HTTP/1.1 200 OK\r\n\r\n')], 'garbage'],
    ['a length beyond all bounds', [frameOf({ ...head, total: 2 ** 32 - 1 })], 'excess'],
    ['more bytes than it said', [frameOf(head), ...data, ...data, ...data], 'more'],
    ['a frame longer than what is left', [frameOf(head), ...data, headerOf('data', 150_000)], 'excess'],
    ['other bytes than it said', [frameOf({ ...head, checksum: 1 }), ...data, ...data], 'corrupt'],
    ['another beginning than was asked for', [frameOf({ ...head, from: 100_000 }), ...data], 'garbage'],
    ['an answer to another question', [frameOf({ name: 'pong', bytes: Buffer.alloc(8) })], 'garbage'],
    ['fewer bytes than it said', [frameOf(head), ...data, Buffer.alloc(0)], 'cut'],
  ];
  test.each(lies)('a holder that says %s gives nothing wrong', async (_, says, code) => {
    const fleet = new Fleet();
    const asker = await fleet.daemon();
    const key = newNodeKey();
    const onChannel = async (channel: Channel): Promise<void> => {
      await channel.fill(Buffer.alloc(8 + 4 + 1), 5_000);
      for (const bytes of says) if (bytes.length > 0) await channel.write(bytes).catch(() => {});
      channel.end();
    };
    const liar = await newHolder(name, { key, onChannel });
    liar.admit(asker.key);
    fleet.add(key, [{ transport: name, host: '127.0.0.1', port: liar.listener.port }]);
    fleet.says('k', key.node);
    fleet.tell();
    const got = await asker.read('k');
    // What came beyond a whole value is not part of it, and ends the channel.
    if (code === 'more') expect(got?.equals(Buffer.concat([part, part]))).toBe(true);
    else {
      expect(got).toBeUndefined();
      const failures = asker.peers.counts.peers.flatMap((row) => Object.keys(row.failures));
      expect(failures).toContain(code);
      expect(asker.store.ram.counts.bytes).toBe(0);
    }
  });
});

test('keys of a Redis database without fields are neither told, nor asked for, nor given', async () => {
  const { fleet, asker, holder, value } = await two('tls');
  holder.peers.held.take();
  holder.put('db3:k', value);
  expect(holder.peers.held.take()).toBeUndefined();
  fleet.says('db3:k', holder.node);
  expect(await asker.read('db3:k')).toBeUndefined();
  expect(asker.peers.counts.tier.fetches).toBe(0);
  expect(await asker.peers.tier.fetch('db3:k', { node: holder.node })).toBeUndefined();
});

test('of a holder that lies nothing is kept: the value comes from an honest one', async () => {
  const { fleet, asker, holder, value } = await two('tls');
  const wrong = frameOf({ name: 'head', total: mebibyte, checksum: 1, from: 0, leftMs: 0 });
  const lying = await newHolder('tls', {
    key: newNodeKey(),
    onChannel: async (channel) => {
      await channel.fill(Buffer.alloc(13), 5_000);
      for (const bytes of [wrong, headerOf('data', 1_000), newValue(1_000)])
        await channel.write(bytes).catch(() => {});
      channel.cut();
    },
  });
  lying.admit(asker.key);
  fleet.add(lying.key, [{ transport: 'tls', host: '127.0.0.1', port: lying.listener.port }]);
  fleet.says('k', lying.key.node, holder.node);
  fleet.tell('tls');
  expect((await asker.read('k'))?.equals(value)).toBe(true);
});

/** One of the fleet that says it has all, and brings a byte now and then: dial it, and count the values begun. */
const dripper = async (fleet: Fleet, asker: Daemon): Promise<{ key: NodeKey; begun: () => number }> => {
  let begun = 0;
  const forever = { firstMsMax: 60_000, stallMsMax: 60_000 };
  const drip = async (channel: Channel): Promise<void> => {
    const asked = await readFrame(channel, 'asker', forever);
    if (asked?.name !== 'get') return channel.cut();
    begun += 1;
    const head = { name: 'head', total: mebibyte, checksum: 1, from: asked.from, leftMs: 0 } as const;
    await channel.write(frameOf(head), headerOf('data', 65_536));
    const timer = setInterval(() => void channel.write(Buffer.alloc(1)).catch(stop), 200);
    const stop = (): void => clearInterval(timer);
    onTestFinished(stop);
  };
  const onChannel = (channel: Channel): void => void drip(channel).catch(() => channel.cut());
  const { key, listener, admit } = await newHolder('tls', { key: newNodeKey(), onChannel });
  admit(asker.key);
  fleet.add(key, [{ transport: 'tls', host: '127.0.0.1', port: listener.port }]);
  return { key, begun: () => begun };
};

/** What a probe finds, so that who is better does not depend on this machine. */
const known = (asker: Daemon, node: Daemon['node'], rttMs: number): void => {
  for (const path of asker.peers.fabric.pathsTo(node)) {
    path.answered(rttMs);
    path.brought(mebibyte, 10);
  }
};

/** From one of those; there is time enough for a machine that is busy. */
const fetched = async (
  asker: Daemon,
  key: string,
  ...holders: Daemon['node'][]
): Promise<Buffer | undefined> => {
  const held = await asker.peers.tier.fetch(key, { holders, deadlineMs: 20_000 });
  const bytes = held && Buffer.from(held.bytes);
  held?.release();
  return bytes;
};

test('holders that drip keep no value of others from coming', async () => {
  const fleet = new Fleet();
  const [asker, holder] = [await fleet.daemon(), await fleet.daemon()];
  const slow = [await dripper(fleet, asker), await dripper(fleet, asker), await dripper(fleet, asker)];
  fleet.tell('tls');
  const dripping = slow.flatMap(({ key: { node } }, at) =>
    Array.from({ length: 20 }, (_, of) => fetched(asker, `evil${at}.${of}`, node)),
  );
  await expect.poll(() => slow.some(({ begun }) => begun() > 0)).toBe(true);
  const good = Array.from({ length: 20 }, (_, at) => `good${at}`);
  for (const name of good) holder.put(name, newValue(mebibyte));
  const came = await Promise.all(good.map((name) => fetched(asker, name, holder.node)));
  expect(came.filter((value) => value !== undefined)).toHaveLength(good.length);
  expect((await Promise.all(dripping)).every((value) => value === undefined)).toBe(true);
  // None of those who waited in its line asked one that was known to drip by then.
  for (const { begun } of slow) expect(begun()).toBeLessThanOrEqual(connectionsPerPeerMax - 1);
  // Nobody asks it for anything for a while.
  expect(await fetched(asker, 'later', ...slow.map(({ key }) => key.node))).toBeUndefined();
  expect(asker.peers.counts.tier.unheld).toBe(1);
});

test('one that drips is left for another that holds it too, and comes last from then on', async () => {
  const { fleet, asker, holder, value } = await two('tls');
  const slow = await dripper(fleet, asker);
  fleet.tell('tls');
  known(asker, slow.key.node, 1);
  known(asker, holder.node, 20);
  for (const name of ['k', 'l', 'm']) {
    if (name !== 'k') holder.put(name, value);
    expect((await fetched(asker, name, slow.key.node, holder.node))?.equals(value)).toBe(true);
  }
  expect(slow.begun()).toBe(1);
});
