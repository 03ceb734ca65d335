/** What the rest of the daemon, and the agent, see of peers. */
import { expect, test } from 'vitest';
import { checkKeyPrefix } from './check.ts';
import { check } from './exchange.ts';
import { keyDigest } from './key-digest.ts';
import { type Daemon, Fleet } from './testing/fleet.ts';
import { newValue } from './testing/pair.ts';

const signal = new AbortController().signal;
const aborted = AbortSignal.abort();

const heldIn = ({ lines }: Daemon): string[] => {
  const held = new Set<string>();
  for (const line of lines) {
    if (line.type !== 'held') continue;
    if (line.isCleared) held.clear();
    for (const digest of line.added) held.add(digest);
    for (const digest of line.removed) held.delete(digest);
  }
  return [...held].sort();
};

test('an agent is told who this is, what is reached, and every key, and again when it comes anew', async () => {
  const fleet = new Fleet();
  const one = await fleet.daemon();
  expect(one.lines[0]).toEqual({ type: 'self', ...one.peers.fabric.self });
  expect(one.member.addresses.length).toBeGreaterThan(0);
  one.put('a', newValue(10));
  one.put('b', newValue(10));
  await expect.poll(() => heldIn(one)).toEqual([keyDigest('a'), keyDigest('b')].sort());
  one.store.delete('a');
  await expect.poll(() => heldIn(one)).toEqual([keyDigest('b')]);
  const again: Daemon['lines'][number][] = [];
  one.peers.attach((line) => again.push(line) > 0);
  await expect
    .poll(() => again.find(({ type }) => type === 'held'))
    .toEqual({ type: 'held', isCleared: true, added: [keyDigest('b')], removed: [] });
  expect(again[0]).toMatchObject({ type: 'self' });
});

test('keys that are here are not fetched, the others come side by side, and what did not come is named', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell();
  for (let index = 0; index < 100; index += 1) other.put(`k${index}`, newValue(1_000));
  one.put('k0', newValue(5));
  const keys = Array.from({ length: 101 }, (_, index) => `k${index}`);
  const got = await one.peers.fetch({ keys, node: other.node, deadlineMs: 10_000 }, signal);
  expect(got).toMatchObject({ fetched: 99, bytes: 99_000, missing: ['k100'] });
  expect(one.store.lengthOf('k0')).toBe(5);
  fleet.says('k100', other.node);
  other.put('k100', newValue(7));
  expect(await one.peers.fetch({ keys: ['k100'], node: 'any', deadlineMs: 10_000 }, aborted)).toMatchObject({
    missing: ['k100'],
  });
});

test('whom the edge names is asked when nobody is named', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell();
  other.put('k', newValue(10));
  fleet.says('k', other.node);
  const got = await one.peers.fetch({ keys: ['k', 'l'], node: 'any', deadlineMs: 10_000 }, signal);
  expect(got).toMatchObject({ fetched: 1, bytes: 10, missing: ['l'] });
});

test('peers are shown with what went between, and with why they are not reached', async () => {
  const fleet = new Fleet();
  const [one, other, gone] = [await fleet.daemon(), await fleet.daemon(), await fleet.daemon()];
  expect(one.peers.peers()).toMatchObject({ node: one.node, hasFabric: false, peers: [] });
  await gone.peers.close();
  fleet.tell('tls');
  other.put('k', newValue(10));
  await one.peers.fetch({ keys: ['k'], node: other.node, deadlineMs: 10_000 }, signal);
  await one.peers.fabric.probeAll();
  const { peers, hasFabric } = one.peers.peers();
  expect(hasFabric).toBe(true);
  expect(peers.map(({ node }) => node)).toEqual([other.node, gone.node]);
  expect(peers[0]).toMatchObject({ transport: 'tls', sentBytes: 0 });
  expect(peers[0]?.receivedBytes).toBeGreaterThanOrEqual(10);
  expect(peers[1]?.why).toMatch(/tls 127\.0\.0\.1:\d+ unreachable/);
});

test('doctor writes to a peer and reads back, tells its namespaces, and leaves nothing that stays', async () => {
  const fleet = new Fleet();
  const entry = { namespace: 'n0123456789abcdef', fields: { model: 'm', blockTokens: 16 } };
  const [one, other, gone] = [
    await fleet.daemon(),
    await fleet.daemon({ namespaces: () => [entry] }),
    await fleet.daemon(),
  ];
  expect((await one.peers.doctor(undefined, signal)).why).toMatch(/No agent/);
  await gone.peers.close();
  fleet.tell('tls');
  const { probes, why } = await one.peers.doctor(undefined, signal);
  expect(why).toBeUndefined();
  const [good, bad] = [probes.find(({ isOk }) => isOk), probes.find(({ isOk }) => !isOk)];
  expect(good).toMatchObject({ node: other.node, namespaces: [entry] });
  expect(good?.writeMs).toBeGreaterThan(0);
  expect(good?.readMs).toBeGreaterThan(0);
  expect(bad).toMatchObject({ node: gone.node, namespaces: [] });
  expect([...one.store.keys()]).toEqual([]);
  const [left] = [...other.store.keys()];
  expect(left?.startsWith(checkKeyPrefix)).toBe(true);
  expect(other.store.expiresAtMs(left ?? '')).toBeGreaterThan(0);
  expect((await one.peers.doctor(one.node, signal)).why).toMatch(/has no kvcached/);
});

test('doctor names a peer whose bytes come back as others', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell('tls');
  const { hold } = other.store;
  other.store.hold = (key) => {
    const held = hold.call(other.store, key);
    if (key.startsWith(checkKeyPrefix)) held?.bytes.fill(7, 0, 100);
    return held;
  };
  const { probes } = await one.peers.doctor(other.node, signal);
  expect(probes).toMatchObject([{ isOk: false, why: expect.stringMatching(/hash/) }]);
});

test('a peer makes this host fetch nothing but probes', async () => {
  const fleet = new Fleet();
  const [one, other] = [await fleet.daemon(), await fleet.daemon()];
  fleet.tell('tls');
  one.put('secret', newValue(10));
  const [path] = one.peers.fabric.pathsTo(other.node);
  if (path === undefined) throw new Error('no path');
  await expect(check(await path.trunk.take(), 'secret', 5_000)).rejects.toMatchObject({ code: 'refused' });
  await expect(check(await path.trunk.take(), `${checkKeyPrefix}none`, 5_000)).rejects.toMatchObject({
    code: 'missing',
  });
  one.put(`${checkKeyPrefix}long`, newValue(5 * 2 ** 20));
  await expect(check(await path.trunk.take(), `${checkKeyPrefix}long`, 5_000)).rejects.toMatchObject({
    code: 'missing',
  });
  expect([...other.store.keys()]).toEqual([]);
});
