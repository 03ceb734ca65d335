/** What somebody without an identity can do to QUIC's listener: be slow, and hold up nobody. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { newNodeKey } from './testing/authority.ts';
import { certifiedOf, fetchFrom, newAsker, newHolder, newValue, transportOf } from './testing/pair.ts';

const bound = async (): Promise<Socket> => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void socket.close());
  await once(socket, 'listening');
  return socket;
};

/** Passes on the first datagram of whoever sends there, and nothing after it or back. */
const firstOnly = async (
  to: number,
): Promise<{ readonly port: number; readonly isPassed: () => boolean }> => {
  const [front, back] = [await bound(), await bound()];
  let isPassed = false;
  front.on('message', (datagram) => {
    if (!isPassed) back.send(datagram, to, '127.0.0.1');
    isPassed = true;
  });
  return { port: front.address().port, isPassed: () => isPassed };
};

test('handshakes that do not go on hold up nobody', async () => {
  const holder = await newHolder('quic');
  holder.values.set('k', newValue(10));
  const slow = await Promise.all(Array.from({ length: 24 }, () => firstOnly(holder.listener.port)));
  const key = newNodeKey();
  for (const { port } of slow) {
    const trunk = transportOf('quic', { key, certified: () => certifiedOf(key) }).trunk({
      ...{ host: '127.0.0.1', port, node: holder.key.node, publicKey: holder.key.publicKey },
    });
    onTestFinished(() => trunk.cut());
    trunk.take().catch(() => {});
  }
  await expect.poll(() => slow.every(({ isPassed }) => isPassed()), { timeout: 5_000 }).toBe(true);
  expect((await fetchFrom(newAsker('quic', holder), 'k')).length).toBe(10);
});
