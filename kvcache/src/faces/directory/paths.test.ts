import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyBytesMax } from '../../store.ts';
import { depthMax, fileKeyOf, headKeyOf, isPath, isTemporary, keyOf, partKeyOf, pathOf } from './paths.ts';

const namespace = 'n0123456789abcdef';
const bytes = fc.uint8Array({ maxLength: 40 }).map((name) => Buffer.from(name).toString('latin1'));
const pieces = fc.constantFrom(
  '',
  '.',
  '..',
  'a',
  'b.bin',
  '.hidden',
  'x.tmp',
  'x.bin.tmp.1',
  '\0',
  'é',
  '名',
  'a~',
);
const paths = fc
  .array(fc.oneof(bytes, pieces), { minLength: 1, maxLength: depthMax + 3 })
  .map((names) => names.join('/'));

test('every path that has a key is found again by it, and no two have the same', () => {
  fc.assert(
    fc.property(paths, paths, (one, other) => {
      const key = keyOf(namespace, one);
      if (key === undefined) return;
      expect(pathOf(namespace, key)).toBe(one);
      if (one !== other) expect(keyOf(namespace, other)).not.toBe(key);
    }),
  );
});

test('whatever a key says, its path stays beneath the root and is seen by engines', () => {
  fc.assert(
    fc.property(fc.oneof(paths, bytes), (text) => {
      const path = pathOf(namespace, `${namespace}:${text}`);
      if (path === undefined) return;
      const names = path.split('/');
      expect(names.length).toBeLessThanOrEqual(depthMax + 1);
      for (const name of names) {
        expect(['', '.', '..']).not.toContain(name);
        expect(name.includes('\0')).toBe(false);
        expect(isTemporary(name)).toBe(false);
        expect(Buffer.from(name, 'latin1').toString('latin1')).toBe(name);
      }
    }),
  );
});

test('keys of parts lead back to the file, and are no file of their own', () => {
  fc.assert(
    fc.property(paths, fc.nat({ max: 1_023 }), (path, part) => {
      const key = keyOf(namespace, path);
      if (key === undefined) return;
      for (const name of [headKeyOf(key), partKeyOf(key, part)]) {
        expect(fileKeyOf(name)).toBe(key);
        expect(pathOf(namespace, name)).toBeUndefined();
        expect(name.length).toBeLessThanOrEqual(keyBytesMax);
      }
      expect(fileKeyOf(key)).toBe(key);
    }),
  );
});

const hash = '0f'.repeat(32);
const written = [
  `meta-llama_Llama-3.1-8B_0123456789ab_r0/0f0/f0_g0/${hash}.bin`,
  'meta-llama_Llama-3.1-8B_0123456789ab/config.json',
  `${hash}_Qwen-Qwen3-8B_0_2.bin`,
  `${hash}.mamba_Qwen-Qwen3-8B_0_2_2_1.bin`,
  'slot-3.bin',
];
const beside = [
  `meta-llama_Llama-3.1-8B_0123456789ab_r0/0f0/f0_g0/${hash}.bin_8412345678901234567.tmp`,
  '.o_direct_probe_123.tmp',
  `${hash}_Qwen-Qwen3-8B_0_2.bin.tmp.4711.140000.0123456789abcdef0123456789abcdef`,
  '.cgn-0123456789abcdef.tmp',
];

test('what engines name is a path, and what they write beside is none', () => {
  for (const path of written) expect(isPath(path), path).toBe(true);
  for (const path of beside) expect(isPath(path), path).toBe(false);
});

test('a key of another namespace, or as long as no key may be, is no path', () => {
  expect(pathOf(namespace, 'n0000000000000000:a.bin')).toBeUndefined();
  expect(pathOf(namespace, 'a.bin')).toBeUndefined();
  expect(pathOf(namespace, namespace)).toBeUndefined();
  const long = Array.from({ length: 9 }, () => 'x'.repeat(250)).join('/');
  expect(keyOf(namespace, long)).toBeUndefined();
});
