/** Who is refused by TLS: everybody whose certificate is not the fleet's, or not of the node that it should be of. */
import { connect, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { PeerError } from './codes.ts';
import { channelMsMax, connectionsPerPeerMax } from './limits.ts';
import { newAuthority, newNodeKey, selfSigned } from './testing/authority.ts';
import { authority, certifiedOf, fetchFrom, newAsker, newHolder, newValue } from './testing/pair.ts';
import type { Certified, Channel } from './transport.ts';

const hourMs = 3_600_000;
const key = newNodeKey();
const expired = { fromMs: Date.now() - 2 * hourMs, toMs: Date.now() - hourMs };
const early = { fromMs: Date.now() + hourMs, toMs: Date.now() + 2 * hourMs };

/** All of them over a key that is in the roster. */
const forged: [what: string, certified: Certified][] = [
  ['of another CA', { ca: authority.ca, certificate: newAuthority().certify(key) }],
  ['that the key itself signed', { ca: authority.ca, certificate: selfSigned(key) }],
  ['that has expired', { ca: authority.ca, certificate: authority.certify(key, expired) }],
  ['that does not hold yet', { ca: authority.ca, certificate: authority.certify(key, early) }],
];

test.each(forged)('an asker with a certificate %s is refused', async (_, certified) => {
  const holder = await newHolder('tls');
  holder.values.set('k', newValue(10));
  await expect(fetchFrom(newAsker('tls', holder, { key, certified }), 'k')).rejects.toBeInstanceOf(PeerError);
  await expect.poll(() => holder.refused).toEqual(['refused']);
  expect((await fetchFrom(newAsker('tls', holder), 'k')).length).toBe(10);
});

test.each(forged)('a holder with a certificate %s is refused', async (_, certified) => {
  const holder = await newHolder('tls', { key, certified: () => certified });
  await expect(newAsker('tls', holder).take()).rejects.toMatchObject({ code: 'refused' });
});

/** By hand: what another program can do. */
const dialled = async (port: number, own: Certified | undefined, options = {}): Promise<TLSSocket> => {
  const shown = own && {
    cert: own.certificate,
    key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
  const names = { ALPNProtocols: ['cognitora-kv/1'], rejectUnauthorized: false };
  const socket = connect({ host: '127.0.0.1', port, ...names, ...shown, ...options });
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('error', resolve));
  return socket;
};

const bytesOf = async (socket: TLSSocket): Promise<number> => {
  let bytes = 0;
  socket.on('data', (part: Buffer) => {
    bytes += part.length;
  });
  socket.write(Buffer.from('0200000008000000aaaaaaaaaaaaaaaa', 'hex'));
  await new Promise((resolve) => {
    socket.once('close', resolve).once('error', resolve).once('data', resolve);
    if (socket.destroyed) resolve(undefined);
  });
  return bytes;
};

test('without a certificate, with TLS 1.2, or without the name of the protocol nothing is said', async () => {
  const holder = await newHolder('tls');
  holder.admit(key);
  const { port } = holder.listener;
  const own = certifiedOf(key);
  expect(await bytesOf(await dialled(port, own))).toBe(16);
  expect(await bytesOf(await dialled(port, undefined))).toBe(0);
  expect(await bytesOf(await dialled(port, own, { maxVersion: 'TLSv1.2' }))).toBe(0);
  expect(await bytesOf(await dialled(port, own, { ALPNProtocols: undefined }))).toBe(0);
  expect(holder.refused).toHaveLength(3);
});

test('no session is resumed: each connection shows its certificate', async () => {
  const holder = await newHolder('tls');
  holder.admit(key);
  const { port } = holder.listener;
  const first = await dialled(port, certifiedOf(key));
  const sessions: Buffer[] = [];
  first.on('session', (session) => sessions.push(session));
  expect(await bytesOf(first)).toBe(16);
  for (const session of sessions) {
    const again = await dialled(port, certifiedOf(key), { session });
    expect(again.isSessionReused()).toBe(false);
  }
});

test('a new certificate is used for new connections, and those that stand go on', async () => {
  const another = newAuthority();
  let certified = certifiedOf(key);
  const holder = await newHolder('tls', { key, certified: () => certified });
  holder.values.set('k', newValue(10));
  const old = newAsker('tls', holder);
  await fetchFrom(old, 'k');
  certified = { ca: another.ca, certificate: another.certify(key) };
  holder.listener.renew();
  expect((await fetchFrom(old, 'k')).length).toBe(10);
  await expect(newAsker('tls', holder).take()).rejects.toMatchObject({ code: 'refused' });
  const theirs = newNodeKey();
  const own = { ca: another.ca, certificate: another.certify(theirs) };
  const fresh = newAsker('tls', holder, { key: theirs, certified: own });
  expect((await fetchFrom(fresh, 'k')).length).toBe(10);
});

test('who is not admitted any more is cut, whatever certificate came with that', async () => {
  let certified = certifiedOf(key);
  const holder = await newHolder('tls', { key, certified: () => certified });
  const channel = await newAsker('tls', holder).take();
  certified = { ca: 'none', certificate: 'none' };
  holder.roster.clear();
  expect(() => holder.listener.renew()).toThrow();
  expect(await channel.fill(Buffer.alloc(1), 4_000).catch(({ code }) => code)).not.toBe('stalled');
});

test('before the edge told a certificate nobody is dialled and nobody let in', async () => {
  const holder = await newHolder('tls', { certified: () => undefined });
  await expect(newAsker('tls', holder).take()).rejects.toBeInstanceOf(PeerError);
  const asker = newAsker('tls', await newHolder('tls'), { certified: undefined });
  await expect(asker.take()).rejects.toMatchObject({ code: 'unreachable' });
});

test('a node has no more connections than its pool needs', async () => {
  const holder = await newHolder('tls');
  holder.admit(key);
  for (let index = 0; index < 20; index += 1) await dialled(holder.listener.port, certifiedOf(key));
  await expect.poll(() => holder.refused.filter((code) => code === 'excess')).toHaveLength(4);
});

test('who waits for a connection does so for a while, and the next one given back is for who still waits', async () => {
  const asker = newAsker('tls', await newHolder('tls'));
  const all = await Promise.all(Array.from({ length: connectionsPerPeerMax }, () => asker.take()));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const codes: string[] = [];
  const late = asker.take().catch((thrown: PeerError) => codes.push(thrown.code));
  await vi.advanceTimersByTimeAsync(channelMsMax - 1);
  const waits: Promise<Channel> = asker.take();
  expect(codes).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  await late;
  expect(codes).toEqual(['busy']);
  all[0]?.giveBack();
  expect(await waits).toBe(all[0]);
});
