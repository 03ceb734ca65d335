/** What a peer may take: as much as is its share, and nothing by way of what it may not say. */

import type { NodeId } from '@cognitora/protocol/ids';
import { peerTransports } from '@cognitora/protocol/kv-daemon';
import { describe, expect, onTestFinished, test } from 'vitest';
import { PeerError } from './codes.ts';
import { Inbox } from './inbox.ts';
import { probeBytesMax, probedPerPeerMax, servedPerPeerMax } from './limits.ts';
import { type Served, ServedNow, serveChannel } from './serve.ts';
import { newNodeKey } from './testing/authority.ts';
import { fetchFrom, newAsker, newHolder, newValue } from './testing/pair.ts';
import type { Channel } from './transport.ts';
import { type Frame, frameOf, headerOf, readFrame } from './wire.ts';

const value = newValue(4 * 2 ** 20);

describe.each([...peerTransports])('over %s', (name) => {
  test('a flood of requests whose answers nobody reads holds its share, and others are answered', async () => {
    let [held, heldMax] = [0, 0];
    const holder = await newHolder(name, {
      served: {
        hold: () => {
          held += 1;
          heldMax = Math.max(heldMax, held);
          const release = (): void => {
            held -= 1;
          };
          return { bytes: value, pages: value, arena: 0, offset: 0, value, release };
        },
      },
    });
    const key = newNodeKey();
    const requests = Buffer.concat(Array(500).fill(frameOf({ name: 'get', from: 0, key: 'k' })));
    const channels: Channel[] = [];
    for (const trunk of [0, 1, 2].map(() => newAsker(name, holder, { key }))) {
      for (let index = 0; index < 8; index += 1) {
        // Beyond its share of connections it is not let in.
        const channel = await trunk.take().catch(() => undefined);
        if (channel === undefined) continue;
        channels.push(channel);
        channel.write(requests).catch(() => {});
      }
    }
    await expect.poll(() => heldMax).toBeGreaterThanOrEqual(8);
    expect((await fetchFrom(newAsker(name, holder), 'k')).equals(value)).toBe(true);
    expect(heldMax).toBeLessThanOrEqual(servedPerPeerMax + 1);
    for (const channel of channels) channel.cut();
    await expect.poll(() => held, { timeout: 10_000 }).toBe(0);
  });

  const wrongs: [what: string, bytes: Buffer, code: string][] = [
    ['what is no frame', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'garbage'],
    ['a frame that is the holder’s', frameOf({ name: 'pong', bytes: Buffer.alloc(8) }), 'garbage'],
    ['a key that is too long', headerOf('get', 100_000), 'excess'],
    ['a probe that is too long', frameOf({ name: 'probe', bytes: 2 ** 31 }), 'excess'],
  ];
  test.each(wrongs)('a peer that says %s is cut and counted', async (_, bytes, code) => {
    const holder = await newHolder(name);
    const asker = newAsker(name, holder);
    const channel = await asker.take();
    onTestFinished(() => channel.cut());
    await channel.write(bytes);
    const got = await channel.fill(Buffer.alloc(1), 4_000).catch(() => false);
    expect(got).toBe(false);
    await expect.poll(() => holder.failed).toEqual([code]);
    holder.values.set('k', newValue(10));
    expect((await fetchFrom(asker, 'k')).length).toBe(10);
  });

  test('a peer that begins a request and does not end it is cut', async () => {
    const holder = await newHolder(name);
    const channel = await newAsker(name, holder).take();
    onTestFinished(() => channel.cut());
    await channel.write(headerOf('get', 10));
    expect(await channel.fill(Buffer.alloc(1), 20_000).catch(() => false)).toBe(false);
    expect(holder.failed).toEqual(['stalled']);
  });

  test('a beginning beyond the value is answered as a value that is not here', async () => {
    const holder = await newHolder(name);
    holder.values.set('k', newValue(10));
    const channel = await newAsker(name, holder).take();
    onTestFinished(() => channel.cut());
    await channel.write(frameOf({ name: 'get', from: 11, key: 'k' }));
    const answer = Buffer.alloc(9);
    expect(await channel.fill(answer, 4_000)).toBe(true);
    expect(answer.equals(frameOf({ name: 'fail', code: 'missing' }))).toBe(true);
  });
});

/** A channel on which somebody asks, and reads as much as the test says; ended with the test. */
const unread = (asked: Exclude<Frame, { readonly name: 'data' }>, isRead = false) => {
  const inbox = new Inbox(() => {});
  const parts: Buffer[] = [];
  const cut = (): void => inbox.end(new PeerError('cut'));
  const write = (...some: readonly Buffer[]): Promise<void> => {
    parts.push(...some);
    return isRead
      ? Promise.resolve()
      : new Promise((_, reject) => onTestFinished(() => reject(new PeerError('cut'))));
  };
  const fill = (target: Buffer, msMax: number): Promise<boolean> => inbox.fill(target, msMax);
  const channel: Channel = { node: 'n' as NodeId, came: 0, fill, write, giveBack: cut, end: cut, cut };
  onTestFinished(cut);
  inbox.push(frameOf(asked));
  return { channel, parts, said: () => answerIn(Buffer.concat(parts)) };
};

/** The first frame that was said. */
const answerIn = (bytes: Buffer): Promise<Frame | undefined> => {
  const inbox = new Inbox(() => {});
  inbox.push(bytes);
  inbox.end();
  const fill = (target: Buffer, msMax: number): Promise<boolean> => inbox.fill(target, msMax);
  return readFrame({ fill } as Channel, 'holder', { firstMsMax: 1_000, stallMsMax: 1_000 });
};

const servedOf = (hold: Served['hold']): Served => ({
  ...{ hold, leftMs: () => 0, namespaces: () => [], newest: () => undefined, cap: () => undefined },
  check: () => Promise.reject(new Error('no check here')),
  ...{ nowMs: () => 0, onSent: () => {}, onFailed: () => {} },
});
const heldAs = (bytes: Buffer, identity: object = bytes): ReturnType<Served['hold']> => ({
  ...{ bytes, pages: bytes, arena: 0, offset: 0, value: identity, release: () => {} },
});

test('probes that nobody reads take no memory of their own, and are few', async () => {
  const now = new ServedNow(Number.POSITIVE_INFINITY);
  const served = servedOf(() => undefined);
  const asked = { name: 'probe', bytes: probeBytesMax } as const;
  const probes = Array.from({ length: probedPerPeerMax + 1 }, () => unread(asked));
  for (const { channel } of probes) void serveChannel(channel, served, now);
  await expect.poll(() => probes.filter(({ parts }) => parts.length > 0).length).toBe(probes.length);
  const last = await probes.at(-1)?.said();
  expect(last).toEqual({ name: 'fail', code: 'busy' });
  const [one, other] = probes.map(({ parts }) => parts[1]?.buffer);
  expect(one).toBeDefined();
  expect(one).toBe(other);
});

test('values that nobody reads hold their share of memory, and one is always given', async () => {
  const now = new ServedNow(1_000);
  const served = servedOf((key) => heldAs(Buffer.alloc(Number(key))));
  const ask = (key: string) => {
    const { channel, parts, said } = unread({ name: 'get', from: 0, key });
    void serveChannel(channel, served, now);
    return expect
      .poll(() => parts.length)
      .toBeGreaterThan(0)
      .then(said);
  };
  expect(await ask('2000')).toMatchObject({ name: 'head', total: 2_000 });
  expect(await ask('1')).toEqual({ name: 'fail', code: 'busy' });
});

test('the checksum of a value is made once, and anew for what takes its place', async () => {
  const now = new ServedNow(1_000);
  const bytes = newValue(100);
  let identity = {};
  const served = servedOf(() => heldAs(bytes, identity));
  const ask = async (): Promise<unknown> => {
    const { channel, parts, said } = unread({ name: 'get', from: bytes.length, key: 'k' }, true);
    void serveChannel(channel, served, now);
    await expect.poll(() => parts.length).toBeGreaterThan(0);
    return said();
  };
  const first = await ask();
  expect(first).toMatchObject({ name: 'head', total: 100 });
  bytes.fill(7);
  expect(await ask()).toEqual(first);
  identity = {};
  expect(await ask()).not.toEqual(first);
});
