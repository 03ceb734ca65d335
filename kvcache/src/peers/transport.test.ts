/** What every transport must do, and what it must refuse: the same tests for each of the table. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { type PeerTransport, peerTransports } from '@cognitora/protocol/kv-daemon';
import { describe, expect, onTestFinished, test } from 'vitest';
import { PeerError } from './codes.ts';
import { newTransfer, ping, probe } from './exchange.ts';
import { dataBytesMax } from './limits.ts';
import { newNodeKey } from './testing/authority.ts';
import {
  certifiedOf,
  fetchFrom,
  fetchInto,
  newAsker,
  newHolder,
  newValue,
  transportOf,
} from './testing/pair.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Channel, Trunk } from './transport.ts';
import { frameOf, headerOf } from './wire.ts';

const nowMs = (): number => performance.now();
const pinged = async (trunk: Trunk): Promise<number> => ping(await trunk.take(), randomBytes(8), nowMs);
const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  const thrown: unknown = await promise.then(
    () => 'nothing was thrown',
    (reason: unknown) => reason,
  );
  return thrown instanceof PeerError ? thrown.code : String(thrown);
};

describe.each([...peerTransports])('%s', (name: PeerTransport) => {
  test('values of all lengths come whole', async () => {
    const holder = await newHolder(name);
    const asker = newAsker(name, holder);
    for (const bytes of [1, 4095, 262_144, 262_145, 1_048_577, 5_000_000]) {
      holder.values.set('k', newValue(bytes));
      expect((await fetchFrom(asker, 'k')).equals(holder.values.get('k') ?? Buffer.alloc(0))).toBe(true);
    }
    expect(await codeOf(fetchFrom(asker, 'another'))).toBe('missing');
    expect(await pinged(asker)).toBeGreaterThan(0);
    expect(await probe(await asker.take(), 1_000_000, nowMs)).toBeGreaterThan(0);
    expect(holder.refused.concat(holder.failed)).toEqual([]);
  });

  test('hundreds of exchanges, one after the other, leave nothing behind', async () => {
    const holder = await newHolder(name);
    const asker = newAsker(name, holder);
    holder.values.set('k', newValue(3_000));
    for (let index = 0; index < 400; index += 1) {
      expect(await fetchFrom(asker, index % 3 === 0 ? 'no' : 'k').catch(() => undefined)).toEqual(
        index % 3 === 0 ? undefined : holder.values.get('k'),
      );
    }
  });

  test('exchanges stand side by side: what is short does not wait for what is long', async () => {
    const holder = await newHolder(name);
    const asker = newAsker(name, holder);
    const done: string[] = [];
    for (let index = 0; index < 4; index += 1) holder.values.set(`k${index}`, newValue(24_000_000));
    const long = [...holder.values.keys()].map(async (key) => {
      expect((await fetchFrom(asker, key)).equals(holder.values.get(key) ?? Buffer.alloc(0))).toBe(true);
      done.push(key);
    });
    await pinged(asker);
    done.push('short');
    await Promise.all(long);
    expect(done[0]).toBe('short');
    expect(done).toHaveLength(5);
  });

  test('both ends know the node at the other', async () => {
    const [key, seen] = [newNodeKey(), Promise.withResolvers<Channel>()];
    const holder = await newHolder(name, { onChannel: seen.resolve });
    const channel = await newAsker(name, holder, { key }).take();
    await channel.write(Buffer.from('x'));
    expect(channel.node).toBe(holder.key.node);
    expect((await seen.promise).node).toBe(key.node);
  });

  test('a node that is not in the roster gets nothing, whatever its certificate', async () => {
    const holder = await newHolder(name);
    holder.values.set('k', newValue(10));
    const asker = newAsker(name, holder, { isAdmitted: false });
    expect(['cut', 'unreachable', 'refused']).toContain(await codeOf(fetchFrom(asker, 'k')));
    expect(holder.refused).toContain('refused');
  });

  test('a node that is not the one that was dialled is told nothing', async () => {
    const channels: Channel[] = [];
    const holder = await newHolder(name, { onChannel: (channel) => channels.push(channel) });
    const meant = newNodeKey();
    holder.admit(meant);
    expect(await codeOf(newAsker(name, holder, { meant }).take())).toBe('refused');
    for (const channel of channels) {
      expect(await channel.fill(Buffer.alloc(1), 1_000).catch(() => false)).toBe(false);
    }
  });

  test('a node that is removed is cut at once, in the midst of a value', async () => {
    const key = newNodeKey();
    const holder = await newHolder(name, { served: { cap: () => slow } });
    const asker = newAsker(name, holder, { key });
    holder.values.set('k', newValue(2_000_000));
    const transfer = newTransfer();
    const going = codeOf(fetchInto(asker, 'k', transfer));
    await expect.poll(() => transfer.at).toBeGreaterThan(0);
    holder.roster.clear();
    holder.listener.renew();
    expect(await going).toBe('cut');
    expect(transfer.at).toBeLessThan(2_000_000);
    expect(['cut', 'unreachable', 'refused']).toContain(await codeOf(pinged(asker)));
  });

  test('a node that was added is let in without a new listener', async () => {
    const key = newNodeKey();
    const holder = await newHolder(name);
    const before = newAsker(name, holder, { key, isAdmitted: false });
    expect(await codeOf(pinged(before))).not.toBe('nothing was thrown');
    holder.admit(key);
    holder.listener.renew();
    expect(await pinged(newAsker(name, holder, { key }))).toBeGreaterThan(0);
  });

  test('nobody there, or somebody who says nothing, is unreachable', async () => {
    const key = newNodeKey();
    const certified = certifiedOf(key);
    const transport = transportOf(name, { key, certified: () => certified });
    const { node, publicKey } = newNodeKey();
    const taken = [await freePort(), await silentPort()].map((port) =>
      codeOf(transport.trunk({ host: '127.0.0.1', port, node, publicKey }).take()),
    );
    expect(await Promise.all(taken)).toEqual(['unreachable', 'unreachable']);
  });

  test('one that stops in the midst is stalled, one that is cut is cut, one that ends in order has ended', async () => {
    const holder = await newHolder(name, {
      onChannel: async (channel) => {
        const asked = Buffer.alloc(1);
        await channel.fill(asked, 5_000);
        await channel.write(Buffer.from('abc'));
        if (asked[0] === 1) channel.cut();
        if (asked[0] === 2) channel.end();
      },
    });
    const asker = newAsker(name, holder);
    const answered = async (how: number): Promise<string> => {
      const channel = await asker.take();
      onTestFinished(() => channel.cut());
      await channel.write(Buffer.from([how]));
      const target = Buffer.alloc(3);
      if (how !== 1) expect(await channel.fill(target, 2_000)).toBe(true);
      const more = channel.fill(how === 1 ? Buffer.alloc(100) : Buffer.alloc(2), 300);
      return more.then(String, (thrown: PeerError) => thrown.code);
    };
    expect(await answered(0)).toBe('stalled');
    expect(await answered(1)).toBe('cut');
    expect(await answered(2)).toBe('false');
  });

  test('what nobody reads is not taken: the writer waits', async () => {
    const seen = Promise.withResolvers<Channel>();
    const holder = await newHolder(name, { onChannel: seen.resolve });
    const channel = await newAsker(name, holder).take();
    const part = Buffer.alloc(1_000_000);
    let taken = 0;
    const writing = (async () => {
      for (let index = 0; index < 200; index += 1) {
        await channel.write(part);
        taken += 1;
      }
    })().catch(() => {});
    await seen.promise;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(taken).toBeLessThan(40);
    channel.cut();
    await writing;
  });

  test('a trunk that was cut gives no channel', async () => {
    const holder = await newHolder(name);
    const asker = newAsker(name, holder);
    await pinged(asker);
    asker.cut();
    expect(await codeOf(asker.take())).toBe('closed');
  });

  test('a peer that was started anew at the same place is reached at once', async () => {
    const key = newNodeKey();
    const first = await newHolder(name, { key });
    const asker = newAsker(name, first);
    for (let count = 0; count < 3; count += 1) await pinged(asker);
    const { port } = first.listener;
    await first.listener.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const again = await newHolder(name, { key, port });
    for (const [publicKey, node] of first.roster) again.roster.set(publicKey, node);
    expect(await pinged(asker)).toBeGreaterThan(0);
  });

  test('a channel on which more came than the answer is not used again', async () => {
    let count = 0;
    const holder = await newHolder(name, {
      onChannel: async (channel) => {
        count += 1;
        while (await channel.fill(Buffer.alloc(16), 5_000).catch(() => false)) {
          const pong = frameOf({ name: 'pong', bytes: Buffer.alloc(8) });
          await channel.write(pong).catch(() => {});
          // Later, as if it were of the next exchange.
          await new Promise((resolve) => setTimeout(resolve, 5));
          await channel.write(headerOf('pong', 8)).catch(() => {});
        }
        channel.end();
      },
    });
    const asker = newAsker(name, holder);
    const nonce = Buffer.alloc(8);
    for (let index = 0; index < 3; index += 1) {
      expect(await ping(await asker.take(), nonce, nowMs)).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(count).toBe(3);
  });
});

/** A cap that lets a frame go each tenth of a second. */
const slow = new TokenBucket(10 * dataBytesMax, dataBytesMax, 0);

const portOf = (address: ReturnType<ReturnType<typeof createServer>['address']>): number =>
  typeof address === 'object' && address !== null ? address.port : 0;

/** Takes what comes, over TCP and UDP, and never answers. */
const silentPort = async (): Promise<number> => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket));
  const datagrams = createSocket('udp4');
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  await new Promise<void>((resolve) => datagrams.bind(port, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    datagrams.close();
  });
  return port;
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
};
