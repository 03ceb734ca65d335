/** Lists of newest keys: what is told, how much, and what of a list is believed. */
import { expect, test } from 'vitest';
import { valueBytesMax } from '../store.ts';
import { jsonBytesMax, newestAskedMax, newestKeysMax } from './limits.ts';
import { NewestKeys, parseNewest } from './newest-keys.ts';
import { newNodeKey } from './testing/authority.ts';
import { Fleet } from './testing/fleet.ts';
import { newHolder } from './testing/pair.ts';
import type { Channel } from './transport.ts';

const namespace = 'n0123456789abcdef';
const ask = { namespace, after: 0, limit: 10 };

const keysOf = (gone: readonly string[] = [], wallMs = () => 1_000): NewestKeys =>
  new NewestKeys([namespace], { has: (key) => !gone.includes(key), wallMs });

const told = (keys: NewestKeys, more: Partial<typeof ask> = {}): string[] =>
  (keys.since({ ...ask, ...more })?.keys ?? []).map(({ key }) => key);

test('the newest come first, and only what is new since the last time', () => {
  const keys = keysOf(['n:gone']);
  for (const key of ['n:a', 'n:b', 'n:gone', 'n:c', 'n:a']) keys.add(namespace, key, 5);
  expect(told(keys)).toEqual(['n:a', 'n:c', 'n:b']);
  const { at = -1 } = keys.since(ask) ?? {};
  expect(keys.since({ ...ask, after: at })).toEqual({ at, keys: [] });
  keys.add(namespace, 'n:d', 7);
  expect(keys.since({ ...ask, after: at })?.keys).toEqual([{ key: 'n:d', bytes: 7, ageMs: 0 }]);
  expect(told(keys, { limit: 2 })).toEqual(['n:d', 'n:a']);
});

test('an age is that of when it was written', () => {
  let ms = 1_000;
  const keys = keysOf([], () => ms);
  keys.add(namespace, 'n:a', 5);
  ms = 1_250;
  keys.add(namespace, 'n:b', 5);
  ms = 1_300;
  expect(keys.since(ask)?.keys.map(({ ageMs }) => ageMs)).toEqual([50, 300]);
});

test('only namespaces that are mirrored are listed, and only files of one value', () => {
  const keys = keysOf();
  keys.add('nother', 'nother:a', 5);
  keys.add(namespace, 'n:slot', valueBytesMax + 1);
  expect(keys.since({ ...ask, namespace: 'nother' })).toBeUndefined();
  expect(keys.since(ask)).toEqual({ at: 0, keys: [] });
});

test('a list, an answer and its bytes have bounds, whatever is asked for and however long keys are', () => {
  const keys = keysOf();
  for (let at = 0; at < newestKeysMax + 50; at += 1) keys.add(namespace, `n:${at}`, 1);
  expect(told(keys, { limit: 1e9 })).toHaveLength(newestAskedMax);
  let asked = 0;
  const counted = new NewestKeys([namespace], {
    has: () => {
      asked += 1;
      return false;
    },
    wallMs: () => 1,
  });
  for (let at = 0; at < newestKeysMax + 50; at += 1) counted.add(namespace, `n:${at}`, 1);
  expect(told(counted)).toEqual([]);
  expect(asked).toBe(newestKeysMax);
  // Each of these characters is six in JSON.
  for (let at = 0; at < 100; at += 1) keys.add(namespace, `n:${at}${'\u0001'.repeat(1_000)}`, 1);
  const answer = keys.since({ ...ask, limit: 200 });
  expect(answer?.keys.length).toBeGreaterThan(10);
  expect(JSON.stringify(answer).length).toBeLessThan(jsonBytesMax);
});

test('who was told by an earlier run of the daemon is told all that is new, whatever the clock says', () => {
  const before = keysOf([], () => 5_000);
  before.add(namespace, 'n:a', 1);
  const { at = -1 } = before.since(ask) ?? {};
  const later = keysOf([], () => 6_000);
  later.add(namespace, 'n:b', 1);
  expect(told(later, { after: at })).toEqual(['n:b']);
  const setBack = keysOf([], () => 1_000);
  setBack.add(namespace, 'n:c', 1);
  expect(told(setBack, { after: at })).toEqual(['n:c']);
});

const good = { at: 5, keys: [{ key: `${namespace}:a`, bytes: 1, ageMs: 0 }] };
const [entry] = good.keys;
test.each<[string, unknown]>([
  ['more than was asked for', { ...good, keys: Array(11).fill(entry) }],
  ['keys of another namespace', { ...good, keys: [{ key: 'n1:a', bytes: 1, ageMs: 0 }] }],
  ['a key that is too long', { ...good, keys: [{ ...entry, key: `${namespace}:${'a'.repeat(3_000)}` }] }],
  ['bytes that are no number', { ...good, keys: [{ ...entry, bytes: '1' }] }],
  ['less than no bytes', { ...good, keys: [{ ...entry, bytes: -1 }] }],
  ['bytes beyond all numbers', { ...good, keys: [{ ...entry, bytes: 1e300 }] }],
  ['an age of the future', { ...good, keys: [{ ...entry, ageMs: -1 }] }],
  ['no list', { at: 5, keys: {} }],
  ['a place that is none', { ...good, at: 1.5 }],
  ['nothing', {}],
])('of an answer with %s nothing is believed', (_, answer) => {
  expect(parseNewest(Buffer.from(JSON.stringify(good)), ask)).toEqual(good);
  expect(() => parseNewest(Buffer.from(JSON.stringify(answer)), ask)).toThrow(
    expect.objectContaining({ code: 'garbage' }),
  );
});

test('a daemon asks another for what it listed, and one that mirrors nothing says so', async () => {
  const fleet = new Fleet();
  const newest = keysOf();
  newest.add(namespace, `${namespace}:a`, 5);
  const [asker, holder, plain] = [await fleet.daemon(), await fleet.daemon({ newest }), await fleet.daemon()];
  fleet.tell();
  expect(await asker.peers.newest(holder.node, ask)).toEqual({
    at: 1_000,
    keys: [{ key: `${namespace}:a`, bytes: 5, ageMs: 0 }],
  });
  await expect(asker.peers.newest(plain.node, ask)).rejects.toMatchObject({ code: 'missing' });
  // The channel was given back each time.
  expect((await asker.peers.newest(holder.node, { ...ask, after: 1_000 })).keys).toEqual([]);
});

test('a daemon that knows no such question cuts the channel: a failure with a name', async () => {
  const fleet = new Fleet();
  const [asker, key] = [await fleet.daemon(), newNodeKey()];
  const old = await newHolder('tls', {
    key,
    onChannel: (channel: Channel) => {
      void channel.fill(Buffer.alloc(8), 5_000).then(() => channel.cut());
    },
  });
  old.admit(asker.key);
  fleet.add(key, [{ transport: 'tls', host: '127.0.0.1', port: old.listener.port }]);
  fleet.tell();
  await expect(asker.peers.newest(key.node, ask)).rejects.toMatchObject({ code: 'cut' });
});
