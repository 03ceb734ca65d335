import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromByteAlphabet, toByteAlphabet } from './byte-alphabet.ts';
import { encodeGguf } from './gguf.ts';
import { buildTiny, ensureTiny } from './tiny.ts';
import { tinyVocabulary } from './tiny-vocabulary.ts';

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('the toy model', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tiny-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('has the same bytes on every build and every machine', () => {
    // When the recipe changes on purpose, change the file name in tiny.ts too, so that old files are not
    // taken for it.
    expect(sha256(buildTiny())).toBe('b61ded65a4f37d4d8f579c456117ace77018f281b57bed293c4272e50a544a3f');
    expect(buildTiny().equals(buildTiny())).toBe(true);
  });

  it('is written once, and again when the file is damaged', async () => {
    const first = await ensureTiny(dir);
    expect(first.built).toBe(true);
    expect(await ensureTiny(dir)).toEqual({ path: first.path, built: false });
    await writeFile(first.path, 'half a file');
    expect((await ensureTiny(dir)).built).toBe(true);
    expect(buildTiny().equals(await readFile(first.path))).toBe(true);
  });

  it('survives two programs that start at the same time, and leaves nothing else behind', async () => {
    const [one, two] = await Promise.all([ensureTiny(dir), ensureTiny(dir)]);
    expect(one.path).toBe(two.path);
    expect(await readdir(dir)).toEqual([path.basename(one.path)]);
    expect(buildTiny().equals(await readFile(one.path))).toBe(true);
  });
});

describe("the toy's vocabulary", () => {
  const vocabulary = tinyVocabulary();

  it('has a token for each byte and for both sides of each merge', () => {
    for (let byte = 0; byte < 256; byte++) {
      expect(fromByteAlphabet(vocabulary.tokens[byte] ?? '')).toEqual(Uint8Array.of(byte));
    }
    const known = new Set(vocabulary.tokens);
    for (const merge of vocabulary.merges) {
      const [left = '?', right = '?'] = merge.split(' ');
      expect([known.has(left), known.has(right), known.has(left + right)]).toEqual([true, true, true]);
    }
    expect(new Set(vocabulary.merges).size).toBe(vocabulary.merges.length);
  });

  it('lets only ASCII come out', () => {
    for (const [token, kind] of vocabulary.outputs.entries()) {
      if (kind === 'never' || kind === 'end') continue;
      const bytes = fromByteAlphabet(vocabulary.tokens[token] ?? '') ?? [];
      expect([...bytes].every((byte) => byte < 0x80)).toBe(true);
    }
  });
});

describe('the byte alphabet', () => {
  it('goes both ways for any text', () => {
    const text = 'naïve 🦙\n\0';
    expect(Buffer.from(fromByteAlphabet(toByteAlphabet(text)) ?? []).toString()).toBe(text);
    expect(fromByteAlphabet('漢')).toBeUndefined();
  });
});

describe('a GGUF file', () => {
  it('puts header, description and aligned data where the format wants them', () => {
    const bytes = encodeGguf({ a: { type: 'u32', value: 7 } }, [
      { name: 't', dimensions: [2], values: Float32Array.of(1, 2) },
      { name: 'u', dimensions: [1], values: Float32Array.of(3) },
    ]);
    expect(bytes.subarray(0, 4).toString()).toBe('GGUF');
    expect(bytes.readUInt32LE(4)).toBe(3);
    expect(bytes.readBigUInt64LE(8)).toBe(2n);
    expect(bytes.readBigUInt64LE(16)).toBe(1n);
    // key-value: 8 + 1 + 4 + 4; tensors: (8 + 1 + 4 + 8 + 4 + 8) twice; all after the 24 bytes of header.
    const dataStart = Math.ceil((24 + 17 + 66) / 32) * 32;
    expect(bytes.readFloatLE(dataStart + 4)).toBe(2);
    expect(bytes.readFloatLE(dataStart + 32)).toBe(3);
    expect(bytes.length).toBe(dataStart + 64);
  });
});
