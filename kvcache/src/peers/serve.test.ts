/** What a peer may take: as much as is its share, and nothing by way of what it may not say. */
import { peerTransports } from '@cognitora/protocol/kv-daemon';
import { describe, expect, onTestFinished, test } from 'vitest';
import { servedPerPeerMax } from './limits.ts';
import { newNodeKey } from './testing/authority.ts';
import { fetchFrom, newAsker, newHolder, newValue } from './testing/pair.ts';
import type { Channel } from './transport.ts';
import { frameOf, headerOf } from './wire.ts';

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
          return { bytes: value, pages: value, arena: 0, offset: 0, release };
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
