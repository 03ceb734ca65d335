import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { fingerprintOf, modelFileHash } from './fingerprint.ts';

const directory = mkdtempSync(join(tmpdir(), 'fingerprint-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const hashOf = (bytes: Uint8Array): Promise<string> => {
  const path = join(directory, 'model.gguf');
  writeFileSync(path, bytes);
  return modelFileHash(path);
};

test('each fact counts', () => {
  const facts = { model: 'a', build: 'b', slots: 4, contextTokens: 8, probeTokens: 3, probeBytes: 9 };
  const changed = [
    { model: 'b' },
    { build: 'c' },
    { slots: 2 },
    { contextTokens: 9 },
    { probeTokens: 4 },
    { probeBytes: 5 },
  ].map((change) => fingerprintOf({ ...facts, ...change }).toString('hex'));
  expect(new Set([...changed, fingerprintOf(facts).toString('hex')]).size).toBe(changed.length + 1);
  expect(fingerprintOf({ ...facts })).toEqual(fingerprintOf(facts));
});

test('a model file is known by its size, its ends and places between', async () => {
  const model = new Uint8Array(6_000_000).fill(1);
  const hashes = [await hashOf(model), await hashOf(model.subarray(1))];
  for (const at of [0, 2_700_000, model.length - 1]) {
    const other = model.slice();
    other[at] = 2;
    hashes.push(await hashOf(other));
  }
  expect(new Set(hashes).size).toBe(hashes.length);
  expect(await hashOf(model)).toBe(hashes[0]);
});

test('a small file counts whole, and one that is not there is none', async () => {
  expect(await hashOf(Buffer.from('a'))).not.toBe(await hashOf(Buffer.from('b')));
  await expect(modelFileHash(join(directory, 'none'))).rejects.toThrow();
});
