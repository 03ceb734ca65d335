import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EnvelopeHead, EnvelopeRefused, seal } from './envelope.ts';
import { MoveFiles } from './move-files.ts';

const fingerprint = new Uint8Array(32).fill(7);
let directory = '';
let files: MoveFiles;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'move-files-'));
  files = new MoveFiles(directory);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const payload = Buffer.from('the state of a slot');
const head: EnvelopeHead = {
  fingerprint,
  digests: BigUint64Array.of(1n),
  tokens: 3,
  payloadBytes: payload.length,
};

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The envelope, and what lies in the directory when its last piece is asked for. */
async function* watched(envelope: AsyncIterable<Uint8Array>, seen: string[][]): AsyncGenerator<Uint8Array> {
  for await (const piece of envelope) {
    seen.push(readdirSync(directory));
    yield piece;
  }
}

test('a state has its name only when all of it was checked, and is gone after its move', async () => {
  const seen: string[][] = [];
  await files.withName(async (name) => {
    const found = await files.unseal(name, fingerprint, watched(seal(head, once(payload)), seen));
    expect(found.tokens).toBe(3);
    expect(seen.flat()).not.toContain(name);
    expect(readdirSync(directory)).toEqual([name]);
    expect(readFileSync(join(directory, name)).equals(payload)).toBe(true);
    expect(await files.bytesOf(name)).toBe(payload.length);
  });
  expect(readdirSync(directory)).toEqual([]);
});

test('what is refused leaves no file, under no name', async () => {
  async function* cut(): AsyncGenerator<Uint8Array> {
    for await (const piece of seal(head, once(payload))) yield piece.subarray(0, piece.length - 1);
  }
  await files.withName(async (name) => {
    await expect(files.unseal(name, fingerprint, cut())).rejects.toThrow(EnvelopeRefused);
    await expect(files.unseal(name, new Uint8Array(32), seal(head, once(payload)))).rejects.toThrow(
      EnvelopeRefused,
    );
    expect(readdirSync(directory)).toEqual([]);
  });
});

test('what an agent left behind long ago goes; what is new, or not ours, stays', async () => {
  const id = '00000000-0000-0000-0000-000000000000';
  const names = [
    `cgn-${id}.kv`,
    `cgn-${id}.kv.part`,
    `cgn-${id.replace('0', '1')}.kv`,
    'cgn-notes.kv',
    'mine.bin',
  ];
  for (const name of names) {
    writeFileSync(join(directory, name), 'x');
    utimesSync(join(directory, name), 1_000, 1_000);
  }
  const [, , recent = ''] = names;
  utimesSync(join(directory, recent), 1_700, 1_700);
  await files.removeOld(1_700_000);
  expect(readdirSync(directory).sort()).toEqual([recent, 'cgn-notes.kv', 'mine.bin'].sort());
});
