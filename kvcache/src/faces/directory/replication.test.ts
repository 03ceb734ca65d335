/** Files of other hosts in this host's directory: which come, what they may take, and what hostile hosts get. */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { NodeId } from '@cognitora/protocol/ids';
import { expect, onTestFinished, test } from 'vitest';
import { NewestKeys } from '../../peers/newest-keys.ts';
import { ReplicaSource } from '../../peers/replica-source.ts';
import { type Daemon, Fleet } from '../../peers/testing/fleet.ts';
import type { KvStore } from '../../store.ts';
import { type Mirror, type MirrorOptions, startMirror } from './mirror.ts';
import { Replication, type ReplicationOptions } from './replication.ts';

const namespace = 'n0123456789abcdef';
const mebibyte = 2 ** 20;
const within = { timeout: 10_000, interval: 50 };

interface Host {
  readonly daemon: Daemon;
  readonly directory: string;
  readonly mirror: Mirror;
}

const placeOf = (): string => {
  const place = mkdtempSync(join(tmpdir(), 'kv-replication-'));
  onTestFinished(() => rmSync(place, { recursive: true, force: true }));
  return place;
};

const mirrorOf = async (store: KvStore, options: Partial<MirrorOptions>): Promise<Mirror> => {
  const directory = options.directory ?? placeOf();
  const mirror = await startMirror({ nowMs: Date.now, namespace, ...options, directory }, store);
  onTestFinished(() => mirror.close());
  return mirror;
};

/** One that lists what its engine writes, and takes what others list. */
const hostOf = async (fleet: Fleet, bytesMax = 64 * mebibyte): Promise<Host> => {
  const directory = placeOf();
  const newest = new NewestKeys([namespace], { has: (key) => daemon.store.has(key), wallMs: Date.now });
  const daemon: Daemon = await fleet.daemon({ newest });
  const replicas = new ReplicaSource(daemon.peers, daemon.store, () => performance.now());
  const onAdopted = (key: string, bytes: number): void => newest.add(namespace, key, bytes);
  const mirror = await mirrorOf(daemon.store, { directory, bytesMax, replicas, onAdopted });
  return { daemon, directory, mirror };
};

const write = (directory: string, path: string, bytes: Buffer | string): void => {
  mkdirSync(dirname(join(directory, path)), { recursive: true });
  writeFileSync(join(directory, path), bytes);
};

const isThere = ({ directory }: Host, path: string): boolean => existsSync(join(directory, path));

test('what an engine of one host writes is a file of all others, once, and of no other namespace', async () => {
  const fleet = new Fleet();
  const hosts = [await hostOf(fleet), await hostOf(fleet), await hostOf(fleet)] as const;
  fleet.tell();
  const [one, other, third] = hosts;
  const bytes = randomBytes(mebibyte);
  write(one.directory, 'r0/0f0/block.bin', bytes);
  write(other.directory, 'own.bin', 'own');
  one.daemon.put('nother:other.bin', Buffer.from('x'));
  for (const host of hosts) {
    await expect.poll(() => isThere(host, 'r0/0f0/block.bin') && isThere(host, 'own.bin'), within).toBe(true);
    expect(readFileSync(join(host.directory, 'r0/0f0/block.bin')).equals(bytes)).toBe(true);
    expect(readdirSync(host.directory).sort()).toEqual(['own.bin', 'r0']);
  }
  // What came is no news: nobody fetches it from who did not write it.
  for (const host of hosts) for (let look = 0; look < 3; look += 1) await host.mirror.look();
  const totals = hosts.map(({ mirror }) => [mirror.counts.adopted, mirror.counts.replicated]);
  expect(totals).toEqual([
    [1, 1],
    [1, 1],
    [0, 2],
  ]);
  expect(third.daemon.peers.counts.tier.fetches).toBe(2);
  expect(third.mirror.counts).toMatchObject({ replicatedBytes: mebibyte + 3, replicaBytes: mebibyte + 3 });
});

/** Hosts as the mirror sees them: what they list, and what comes. */
class Others {
  readonly lists = new Map<string, { at: number; keys: { key: string; bytes: number; ageMs: number }[] }>();
  readonly values = new Map<string, Buffer>();
  readonly pulled: string[] = [];
  readonly asked: [node: string, after: number][] = [];

  get source(): ReplicationOptions['source'] {
    const { lists, values, pulled, asked } = this;
    return {
      get reached() {
        return [...lists.keys()] as NodeId[];
      },
      newest: async (node, { after }) => {
        asked.push([node, after]);
        const list = lists.get(node);
        if (list === undefined || list.at < 0) throw new Error('cut');
        return after === list.at ? { at: after, keys: [] } : list;
      },
      pull: async (_, key, use) => {
        pulled.push(key.slice(namespace.length + 1));
        const bytes = values.get(key);
        return use(bytes && { bytes, pages: bytes, arena: 0, offset: 0, value: bytes, release: () => {} });
      },
    };
  }

  tells(node: string, at: number, files: Readonly<Record<string, number>>): void {
    const keys = Object.entries(files).map(([path, bytes], ageMs) => ({
      key: `${namespace}:${path}`,
      bytes,
      ageMs,
    }));
    this.lists.set(node, { at, keys });
  }
}

const replicationOf = (others: Others, more: Partial<ReplicationOptions> = {}) => {
  const skipped: string[] = [];
  const placed: string[] = [];
  const replication = new Replication({
    namespace,
    source: others.source,
    nowMs: () => 0,
    isPaused: () => false,
    whyNot: async () => undefined,
    place: async ({ key }) => {
      placed.push(key.slice(namespace.length + 1));
      return undefined;
    },
    onSkipped: (why, files = 1) => {
      for (let file = 0; file < files; file += 1) skipped.push(why);
    },
    ...more,
  });
  onTestFinished(() => replication.close());
  return { replication, skipped, placed };
};

const offer = (others: Others, node: string, at: number, ...paths: readonly string[]): void => {
  for (const path of paths) others.values.set(`${namespace}:${path}`, Buffer.alloc(3));
  others.tells(node, at, Object.fromEntries(paths.map((path) => [path, 3])));
};

test('each peer is asked for what is new since the last time, and what is newer comes first', async () => {
  const others = new Others();
  let isPaused = true;
  const { replication, placed } = replicationOf(others, { isPaused: () => isPaused });
  offer(others, 'a', 7, 'a2', 'a1');
  await replication.round();
  expect(placed).toEqual([]);
  isPaused = false;
  offer(others, 'a', 9, 'a4', 'a3', 'a1');
  offer(others, 'b', 1, 'b1');
  await replication.round();
  expect(placed.filter((path) => path.startsWith('a'))).toEqual(['a4', 'a3', 'a1', 'a2']);
  expect(placed).toContain('b1');
  await replication.round();
  expect(others.asked.filter(([node]) => node === 'a').map(([, after]) => after)).toEqual([0, 7, 9]);
  expect(placed).toHaveLength(5);
});

test('who does not answer is left alone for ever longer, and others are not', async () => {
  const others = new Others();
  let ms = 0;
  const { replication } = replicationOf(others, { nowMs: () => ms });
  others.tells('old', -1, {});
  others.tells('new', 1, {});
  const asksOf = (node: string): number => others.asked.filter(([asked]) => asked === node).length;
  for (; ms < 3_600_000; ms += 2_000) await replication.round();
  expect(asksOf('new')).toBe(1_800);
  expect(asksOf('old')).toBeGreaterThan(10);
  expect(asksOf('old')).toBeLessThan(25);
});

test('what waits of a peer has a bound, and one that brings nothing is not asked for all of it', async () => {
  const others = new Others();
  let isPaused = true;
  const { replication, skipped } = replicationOf(others, { isPaused: () => isPaused });
  for (let at = 1; at <= 4; at += 1) {
    const paths = Array.from({ length: 256 }, (_, file) => [`${at}-${file}`, 3] as const);
    others.tells('a', at, Object.fromEntries(paths));
    await replication.round();
  }
  expect(skipped).toEqual(Array(512).fill('old'));
  isPaused = false;
  await replication.round();
  expect(others.pulled).toEqual(['4-0', '4-1', '4-2']);
  expect(skipped.slice(512)).toEqual(['failed', 'failed', 'failed']);
});

test('a path that leads out, hides, is temporary or is a part of a file is not even asked for', async () => {
  const others = new Others();
  const { replication, skipped, placed } = replicationOf(others);
  const tricks = ['../out', 'a/../../out', '/etc/passwd', '.hidden', 'a//0', 'a.tmp', 'x\0y', '', 'a/./b'];
  offer(others, 'a', 1, ...tricks, `${'d/'.repeat(9)}deep`, 'fine');
  await replication.round();
  expect(others.pulled).toEqual(['fine']);
  expect(placed).toEqual(['fine']);
  expect(skipped).toEqual(Array(10).fill('foreign'));
});

test('an age beyond all times is that of a file as old as can be', async () => {
  const { others, directory, mirror } = await between(20 * mebibyte);
  others.values.set(`${namespace}:a`, Buffer.from('old'));
  others.lists.set('a', {
    at: 1,
    keys: [{ key: `${namespace}:a`, bytes: 3, ageMs: Number.MAX_SAFE_INTEGER }],
  });
  await expect.poll(() => mirror.counts.replicated, within).toBe(1);
  expect(readFileSync(join(directory, 'a'), 'utf8')).toBe('old');
});

test('a value of another length than was told is no file', async () => {
  const others = new Others();
  const { replication, skipped, placed } = replicationOf(others);
  offer(others, 'a', 1, 'a');
  others.values.set(`${namespace}:a`, Buffer.alloc(4));
  await replication.round();
  expect([placed, skipped]).toEqual([[], ['failed']]);
});

/** A mirror whose others are made up; the store gets what they have as it is pulled. */
const between = async (bytesMax: number) => {
  const [fleet, others, directory] = [new Fleet(), new Others(), placeOf()];
  const { store, put } = await fleet.daemon();
  const { pull, newest } = others.source;
  const replicas: ReplicationOptions['source'] = {
    get reached() {
      return [...others.lists.keys()] as NodeId[];
    },
    newest,
    pull: (node, key, use) => {
      const bytes = others.values.get(key);
      if (bytes !== undefined) put(key, bytes);
      return pull(node, key, use);
    },
  };
  const mirror = await mirrorOf(store, { directory, bytesMax, replicas });
  let at = 0;
  const offers = (node: string, ...paths: readonly string[]): void => {
    for (const path of paths) others.values.set(`${namespace}:${path}`, Buffer.alloc(mebibyte, path));
    at += 1;
    others.tells(node, at, Object.fromEntries(paths.map((path) => [path, mebibyte])));
  };
  const skipped = () => mirror.counts.unreplicated;
  return { others, directory, mirror, offers, skipped };
};

test('files of other hosts take half of the bound, the oldest of them go first, and none comes back', async () => {
  const { others, directory, mirror, offers, skipped } = await between(20 * mebibyte);
  const own = Array.from({ length: 6 }, (_, file) => `own${file}`);
  for (const path of own) write(directory, path, Buffer.alloc(mebibyte, path));
  await expect.poll(() => mirror.counts.adopted, within).toBe(6);
  const first = Array.from({ length: 8 }, (_, file) => `a${file}`);
  offers('a', ...first);
  await expect.poll(() => mirror.counts.replicated, within).toBe(8);
  const second = Array.from({ length: 8 }, (_, file) => `b${file}`);
  offers('a', ...second);
  await expect.poll(() => mirror.counts.replicated, within).toBe(16);
  expect(mirror.counts.replicaBytes).toBeLessThanOrEqual(10 * mebibyte);
  const names = readdirSync(directory);
  expect(names).toEqual(expect.arrayContaining([...own, 'a0', ...second]));
  expect(names).not.toContain('a7');
  expect(names.length).toBeLessThanOrEqual(16);
  // The same again: what is here is here, and what went stays away.
  const gone = first.filter((path) => !names.includes(path));
  offers('b', ...first);
  await expect.poll(() => skipped().removed, within).toBe(gone.length);
  expect(skipped().present).toBe(first.length - gone.length);
  expect(readdirSync(directory).sort()).toEqual(names.sort());
  expect(others.pulled).toHaveLength(16);
});

test('of more than there is room for the newest come, and none that is older takes their place', async () => {
  const { directory, offers, skipped, mirror } = await between(20 * mebibyte);
  const paths = Array.from({ length: 15 }, (_, file) => `a${String(file).padStart(2, '0')}`);
  offers('a', ...paths);
  await expect.poll(() => skipped().full, within).toBe(5);
  expect(readdirSync(directory).sort()).toEqual(paths.slice(0, 10));
  // Their times are those of when they were written, whatever a later look sees.
  await mirror.look();
  offers('b', 'b0');
  await expect.poll(() => readdirSync(directory).sort(), within).toEqual([...paths.slice(0, 9), 'b0']);
});

test('an engine that needs its whole bound gets it: what came goes, and nothing more comes', async () => {
  const { others, directory, mirror, offers, skipped } = await between(10 * mebibyte);
  offers('a', 'a0', 'a1', 'a2', 'a3');
  await expect.poll(() => mirror.counts.replicated, within).toBe(4);
  const own = Array.from({ length: 9 }, (_, file) => `own${file}`);
  for (const path of own) write(directory, path, Buffer.alloc(mebibyte, path));
  await expect.poll(() => readdirSync(directory).sort(), within).toEqual(own);
  await expect.poll(() => mirror.counts.replicaBytes, within).toBe(0);
  offers('b', 'b0');
  await expect.poll(() => skipped().full, within).toBe(1);
  // Of a bound that it is alone in, a file of another host has no place either.
  others.tells('c', 1, { huge: 6 * mebibyte, absurd: 2 ** 52 });
  await expect.poll(() => skipped().large, within).toBe(2);
  expect(others.pulled).toHaveLength(4);
  expect(readdirSync(directory).sort()).toEqual(own);
});

test('a directory that is not there gets nothing', async () => {
  const { directory, mirror, offers, others } = await between(10 * mebibyte);
  rmSync(directory, { recursive: true });
  await mirror.look();
  offers('a', 'a0');
  await expect.poll(() => others.asked.length, within).toBeGreaterThan(1);
  expect(others.pulled).toEqual([]);
  mkdirSync(directory);
  await mirror.look();
  await expect.poll(() => readdirSync(directory), within).toEqual(['a0']);
});
