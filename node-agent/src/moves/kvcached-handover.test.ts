import type { NodeId } from '@cognitora/protocol/ids';
import { describe, expect, test } from 'vitest';
import { MemoryKvDaemon } from '../../testing/memory-kv-daemon.ts';
import { HostBlocks } from '../truth/host-blocks.ts';
import { fingerprintOf } from './fingerprint.ts';
import {
  chain,
  conformance,
  facts,
  otherFacts,
  payloadOf,
  put,
  read,
  serve,
} from './handover.conformance.ts';
import { keyHash } from './kept-prefixes.ts';
import { KvcachedHandover, type KvcachedHandoverOptions } from './kvcached-handover.ts';

const there = `n${'b'.repeat(26)}` as NodeId;
const reach = { node: there, transport: 'tls', rttMs: 2, bytesPerMs: 1_000 } as const;
const partBytes = 1_024;

const open = (
  daemon: MemoryKvDaemon,
  reached: NodeId | 'nobody' = there,
  more: Partial<KvcachedHandoverOptions> = {},
): KvcachedHandover =>
  new KvcachedHandover({
    daemon,
    reachOf: (node) => (node === reached ? reach : undefined),
    onNamed: () => {},
    pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
    log: () => {},
    partBytes,
    ...more,
  });

const flip = (daemon: MemoryKvDaemon): void => {
  for (const value of daemon.values.values()) {
    // Pointers and heads have checks of their own.
    if (value.length < partBytes) continue;
    const at = Math.floor(value.length / 2);
    value[at] = (value[at] ?? 0) ^ 1;
  }
};

describe('as a hand-over', () => {
  conformance(() => {
    const daemon = new MemoryKvDaemon();
    return { open: () => open(daemon), damage: () => flip(daemon) };
  });
});

/** Two hosts; the first reaches the other one. */
const hosts = async () => {
  const [mine, theirs] = [new MemoryKvDaemon(), new MemoryKvDaemon()];
  mine.peers.set(there, theirs);
  const [here, other] = [open(mine), open(theirs)];
  const held = await serve(here);
  await serve(other);
  await Promise.all([here.found(), other.found()]);
  const has = (digests: BigUint64Array, blocks?: number) =>
    here.has(fingerprintOf(facts), digests, blocks === undefined ? undefined : { node: there, blocks });
  return { mine, theirs, here, other, held, has };
};

const names = (daemon: MemoryKvDaemon): readonly string[] =>
  [...daemon.values.keys()].map((key) => key.slice(key.indexOf(':') + 1).replace(/^0+(?=\w)/, '')).sort();

test('parts, then the head, then pointers are written, so that nothing points at what is not there', async () => {
  const { mine, here } = await hosts();
  mine.asked.length = 0;
  await put(here, chain(1, 2), { bytes: 1_500 });
  const written = mine.asked.filter((what) => what.startsWith('put')).map((what) => what.slice(-7));
  expect(written).toEqual(['00002/0', '00002/1', '02/head', '0000001', '0000002']);
  expect(names(mine)).toEqual(['1', '2', '2/0', '2/1', '2/head']);
  expect([...mine.values.values()].every((value) => value.length <= partBytes)).toBe(true);
});

test('a put that breaks off leaves no value behind', async () => {
  const { mine, here } = await hosts();
  mine.onPut = (key) => {
    if (key.endsWith('/head')) throw new Error('there is no room');
  };
  await expect(put(here, chain(1, 2), { bytes: 3_000 })).rejects.toThrow(/no room/);
  expect(names(mine)).toEqual([]);
});

test('what another host holds is found there, fetched ahead, and lies here afterwards', async () => {
  const { mine, here, other, has, held } = await hosts();
  await put(other, chain(1, 2, 3), { bytes: 4_000 });
  expect(await has(chain(1, 2, 3))).toBeUndefined();
  const found = await has(chain(1, 2, 3, 4), 3);
  expect(found).toMatchObject({ blocks: 3, tokens: 300, peer: reach });
  mine.asked.length = 0;
  const pieces = here.get(found?.id ?? '')[Symbol.asyncIterator]();
  await pieces.next();
  expect(mine.asked).toHaveLength(3);
  await pieces.return?.(undefined);
  expect(await read(here, found)).toEqual(Buffer.from(payloadOf(4_000)));
  await expect.poll(() => held.size).toBe(3);
  expect((await has(chain(1, 2)))?.peer).toBeUndefined();
  expect(await has(chain(1, 2))).toMatchObject({ blocks: 2 });
});

test('a host that is not reached, has lost it or is of no more use is not asked in vain', async () => {
  const { mine, theirs, here, other, has } = await hosts();
  await put(other, chain(1, 2));
  await put(here, chain(1, 2, 3));
  mine.asked.length = 0;
  expect((await has(chain(1, 2, 3), 2))?.peer).toBeUndefined();
  expect(mine.asked.filter((what) => what.endsWith('there'))).toEqual([]);
  const unreached = open(mine, 'nobody');
  expect([here.rttMsTo(there), unreached.rttMsTo(there)]).toEqual([reach.rttMs, undefined]);
  await serve(unreached);
  await put(other, chain(7, 8));
  const said = { node: there, blocks: 2 };
  expect(await unreached.has(fingerprintOf(facts), chain(7, 8), said)).toBeUndefined();
  const from = { node: `n${'c'.repeat(26)}` as NodeId, blocks: 2 };
  expect(await here.has(fingerprintOf(facts), chain(7, 8), from)).toBeUndefined();
  theirs.values.clear();
  expect(await has(chain(7, 8), 2)).toBeUndefined();
});

test('what a peer has damaged is not offered a second time', async () => {
  const { theirs, here, other, has } = await hosts();
  await put(other, chain(1, 2), { bytes: 4_000 });
  flip(theirs);
  const found = await has(chain(1, 2), 2);
  await expect(read(here, found)).rejects.toThrow(/damaged/);
  await here.drop(found?.id ?? '');
  expect(await has(chain(1, 2), 2)).toBeUndefined();
});

test('a prompt that goes on takes the place of its beginning', async () => {
  const { mine, here, held } = await hosts();
  for (const digests of [chain(1, 2), chain(1, 9), chain(1, 2, 3)]) await put(here, digests);
  expect(names(mine)).toEqual(['1', '2', '3', '3/0', '3/head', '9', '9/0', '9/head']);
  expect(held.size).toBe(4);
});

test('what the daemon drops is told, and what is of no use without it goes', async () => {
  const { mine, here, held } = await hosts();
  await put(here, chain(1, 2, 3), { bytes: 3_000 });
  await put(here, chain(1, 2, 4));
  expect(held.size).toBe(4);
  const keyOf = (end: string): string => [...mine.values.keys()].find((key) => key.endsWith(end)) ?? '';
  const drop = async (key: string): Promise<void> => {
    mine.values.delete(key);
    await here.dropped([keyHash(key), keyHash('db0:of another client')]);
  };
  // Written anew: told as dropped, and there.
  await here.dropped([keyHash(keyOf('4/head'))]);
  expect(held.size).toBe(4);
  await drop(keyOf('3/1'));
  expect(held.size).toBe(3);
  expect(names(mine)).toEqual(['1', '2', '4', '4/0', '4/head']);
  await drop(keyOf('00002'));
  expect(held.size).toBe(2);
});

test('blocks that two states share are found in the one that is left', async () => {
  const { mine, here, held, has } = await hosts();
  await put(here, chain(1, 2, 3));
  await put(here, chain(1, 5));
  await put(here, chain(1, 2, 4));
  expect((await has(chain(1, 2)))?.id).toMatch(/4\/\d+$/);
  const head = [...mine.values.keys()].find((key) => key.endsWith('4/head')) ?? '';
  mine.values.delete(head);
  await here.dropped([keyHash(head)]);
  expect((await has(chain(1, 2)))?.id).toMatch(/3\/\d+$/);
  expect(held.size).toBe(4);
  await here.drop((await has(chain(1, 2, 3)))?.id ?? '');
  expect([(await has(chain(1, 2)))?.blocks, held.size]).toEqual([1, 2]);
  await put(here, chain(1, 6));
  // Both at once, one the heir of the other.
  const heads = [...mine.values.keys()].filter((key) => key.endsWith('/head'));
  for (const key of heads) mine.values.delete(key);
  await here.dropped(heads.map(keyHash));
  expect([names(mine), held.size]).toEqual([[], 0]);
});

test('what the daemon held before is found again, but for states that are not whole', async () => {
  const { mine, here, held } = await hosts();
  await put(here, chain(1, 2, 3), { bytes: 3_000 });
  await put(here, chain(1, 5), { bytes: 3_000 });
  here.lost();
  // It can be asked, but what it drops from now on is not told.
  expect([held.size, here.isReady(fingerprintOf(facts))]).toEqual([0, true]);
  await put(here, chain(7));
  expect(held.size).toBe(0);
  await here.drop((await here.has(fingerprintOf(facts), chain(7)))?.id ?? '');
  await here.found();
  expect(held.size).toBe(4);
  mine.values.delete([...mine.values.keys()].find((key) => key.endsWith('3/1')) ?? '');
  const anew = open(mine);
  mine.asked.length = 0;
  const heldAnew = await serve(anew);
  expect(mine.asked.filter((what) => what.startsWith('keys'))).toEqual([]);
  await anew.found();
  expect(heldAnew.size).toBe(2);
});

test('a daemon that goes is asked no more until it is back', async () => {
  const daemon = new MemoryKvDaemon();
  daemon.isAway = true;
  const handover = open(daemon);
  const fingerprint = fingerprintOf(facts);
  handover.serve({ fingerprint, facts, held: new HostBlocks(() => {}) });
  await new Promise((resolve) => setImmediate(resolve));
  expect(handover.isReady(fingerprint)).toBe(false);
  expect(await handover.has(fingerprint, chain(1))).toBeUndefined();
  for (let times = 0; times < 2; times += 1) {
    daemon.isAway = false;
    await expect.poll(() => handover.isReady(fingerprint)).toBe(true);
    daemon.isAway = true;
    await expect(handover.has(fingerprint, chain(1))).rejects.toThrow(/ENOENT/);
    expect(handover.isReady(fingerprint)).toBe(false);
  }
  daemon.isAway = false;
});

test('that the daemon is waited for is told once, and that it answers', async () => {
  const daemon = new MemoryKvDaemon();
  daemon.isAway = true;
  const said: string[] = [];
  let waits = 0;
  const handover = open(daemon, there, {
    log: (_, event) => void said.push(event),
    pause: () => {
      waits += 1;
      return new Promise((resolve) => setTimeout(resolve, 1));
    },
  });
  const fingerprint = fingerprintOf(facts);
  handover.serve({ fingerprint, facts, held: new HostBlocks(() => {}) });
  await expect.poll(() => waits).toBeGreaterThan(3);
  daemon.isAway = false;
  await expect.poll(() => handover.isReady(fingerprint)).toBe(true);
  await expect.poll(() => said).toEqual(['kv waits for kvcached', 'kvcached answers']);
});

test('engines that differ in a fact have namespaces of their own', async () => {
  const handover = open(new MemoryKvDaemon());
  await serve(handover);
  await serve(handover, otherFacts);
  const of = (each: typeof facts) => handover.namespaceOf(fingerprintOf(each));
  expect(of(facts)).toMatch(/^n[0-9a-f]{16}$/);
  expect(of(otherFacts)).not.toBe(of(facts));
});
