import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DirectoryHandover } from './directory-handover.ts';
import { seal } from './envelope.ts';
import { conformance } from './handover.conformance.ts';

const fingerprint = new Uint8Array(32).fill(7);
const other = new Uint8Array(32).fill(9);

let directory = '';
let nowMs = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'handover-'));
  nowMs = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (filesMax?: number): DirectoryHandover =>
  new DirectoryHandover({
    directory,
    monotonicMs: () => nowMs,
    wallMs: () => Date.parse('2026-11-26'),
    ...(filesMax === undefined ? {} : { filesMax }),
  });

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const chain = (...digests: number[]): BigUint64Array => BigUint64Array.from(digests, BigInt);

const put = (handover: DirectoryHandover, digests: BigUint64Array, bytes = 100, owner = fingerprint) => {
  const head = { fingerprint: owner, digests, tokens: 100 * digests.length, payloadBytes: bytes };
  return handover.put(head, seal(head, once(new Uint8Array(bytes))));
};
/** A later look than the last. */
const has = (handover: DirectoryHandover, digests: BigUint64Array, owner = fingerprint) => {
  nowMs += 1_000;
  return handover.has(owner, digests);
};
const files = (): readonly string[] => readdirSync(directory).sort();

describe('as a hand-over', () => {
  conformance(() => ({
    open: () => {
      const one = open();
      // Each look is a later one.
      const has: DirectoryHandover['has'] = (...asked) => {
        nowMs += 1_000;
        return DirectoryHandover.prototype.has.apply(one, asked);
      };
      return Object.assign(one, { has });
    },
    damage: () => {
      for (const name of files()) {
        const path = join(directory, name);
        const bytes = readFileSync(path);
        const at = Math.floor(bytes.length / 2);
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        writeFileSync(path, bytes);
      }
    },
  }));
});

test('of envelopes that cover as much the shortest to fetch is found', async () => {
  const handover = open();
  await put(handover, chain(1, 2), 50);
  await put(handover, chain(1, 2, 3, 4), 500);
  await put(handover, chain(1, 2, 3, 5), 400);
  expect(await has(handover, chain(1, 2, 3, 4))).toMatchObject({ blocks: 4 });
  const head = 8 + 24 + 32 + 4 * 8 + 32;
  expect(await has(handover, chain(1, 2, 3, 6))).toMatchObject({ blocks: 3, bytes: head + 400 + 32 });
});

test('a prompt that goes on takes the place of its beginning, and of nothing else', async () => {
  const handover = open();
  for (const digests of [chain(1, 2), chain(1, 9), chain(1, 2, 3)]) await put(handover, digests);
  await put(handover, chain(1, 2), 100, other);
  expect(files().map((name) => name.slice(0, 2) + name.slice(-4))).toEqual(['073.kv', '079.kv', '092.kv']);
});

test('the oldest make room', async () => {
  const handover = open(3);
  for (const digest of [1, 2, 3]) {
    await put(handover, chain(digest));
    const name = files().find((file) => file.endsWith(`${digest}.kv`)) ?? '';
    utimesSync(join(directory, name), digest, digest);
  }
  await put(handover, chain(4));
  expect(files().map((name) => name.slice(-4))).toEqual(['2.kv', '3.kv', '4.kv']);
});

test('a file that is damaged, or has another name than its head says, is not offered', async () => {
  const handover = open();
  await put(handover, chain(1, 2));
  const [name = ''] = files();
  const bytes = readFileSync(join(directory, name));
  bytes[70] = (bytes[70] ?? 0) ^ 1;
  writeFileSync(join(directory, name), bytes);
  utimesSync(join(directory, name), 1, 1);
  expect(await has(handover, chain(1, 2))).toBeUndefined();
  bytes[70] = (bytes[70] ?? 0) ^ 1;
  writeFileSync(join(directory, name.replace('2.kv', '3.kv')), bytes);
  expect(await has(handover, chain(1, 2))).toBeUndefined();
  for (const text of ['', 'CGNKVMV']) {
    writeFileSync(join(directory, name), text);
    expect(await has(handover, chain(1, 2))).toBeUndefined();
  }
});

test('a file that is written has a hidden name, and one that breaks off leaves none', async () => {
  const handover = open();
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(10);
    expect(files().map((name) => name.startsWith('.'))).toEqual([true]);
    throw new Error('the engine is gone');
  }
  const head = { fingerprint, digests: chain(1), tokens: 1, payloadBytes: 20 };
  await expect(handover.put(head, seal(head, broken()))).rejects.toThrow(/is gone/);
  expect(files()).toEqual([]);
});

test('what others keep there stays, and parts of agents that ended long ago go', async () => {
  const part = `.${'0'.repeat(16)}-${'0'.repeat(16)}.kv.${'0'.repeat(16)}`;
  for (const name of ['notes.txt', '.hidden', part]) writeFileSync(join(directory, name), 'x');
  const before = Date.parse('2026-11-25') / 1000;
  for (const name of files()) utimesSync(join(directory, name), before, before);
  const handover = open(1);
  await put(handover, chain(1));
  await put(handover, chain(2));
  expect(files().filter((name) => !name.endsWith('.kv'))).toEqual(['.hidden', 'notes.txt']);
  await handover.drop('notes.txt').catch(() => {});
  expect(() => handover.get('../notes.txt')).toThrow(RangeError);
  expect(files()).toContain('notes.txt');
});

test('a directory that is not there holds nothing', async () => {
  rmSync(directory, { recursive: true });
  expect(await has(open(), chain(1))).toBeUndefined();
});
