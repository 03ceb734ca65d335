import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DirectoryHandover } from './directory-handover.ts';
import { modelFileHash } from './fingerprint.ts';
import { MoveFiles } from './move-files.ts';
import { openPlain, readPlain } from './plain-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'plain-file-'));
const at = (name: string): string => join(directory, name);
/** Names that the two rooms look for. */
const envelope = `${'0'.repeat(16)}-${'1'.repeat(16)}.kv`;
const slotFile = 'cgn-00000000-0000-0000-0000-000000000000.kv';

const readAll = async (bytes: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of bytes) parts.push(part);
  return String(Buffer.concat(parts));
};

beforeAll(() => {
  writeFileSync(at('file'), 'text');
  writeFileSync(at('empty'), '');
  symlinkSync(at('file'), at('link'));
  mkdirSync(at('directory'));
  execFileSync('mkfifo', [at('pipe'), at(envelope)]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('a plain file is read, as long as it was when it was opened', async () => {
  expect(await readAll(readPlain(at('file')))).toBe('text');
  expect(await readAll(readPlain(at('empty')))).toBe('');
  writeFileSync(at('growing'), 'x'.repeat(3 * 1024 * 1024));
  let bytes = 0;
  for await (const part of readPlain(at('growing'))) {
    bytes += part.length;
    appendFileSync(at('growing'), 'more');
  }
  expect(bytes).toBe(3 * 1024 * 1024);
});

// Opened as usual, a pipe without a writer never comes back.
test.each(['pipe', 'directory', 'link'])('a %s is refused at once', async (name) => {
  await expect(readAll(readPlain(at(name)))).rejects.toThrow();
});

test('a link to a plain file is followed where that is wanted, a pipe never', async () => {
  const file = await openPlain(at('link'), 'follow');
  expect((await file.stat()).size).toBe(4);
  await file.close();
  expect(await modelFileHash(at('link'))).toBe(await modelFileHash(at('file')));
  await expect(modelFileHash(at('pipe'))).rejects.toThrow('no plain file');
});

describe('in a directory that others write to', () => {
  const handover = new DirectoryHandover({ directory, monotonicMs: () => 1_000, wallMs: () => 0 });

  test('a pipe under the name of an envelope is not there', async () => {
    expect(await handover.has(new Uint8Array(32), BigUint64Array.of(1n))).toBeUndefined();
    await expect(readAll(handover.get(envelope))).rejects.toThrow('no plain file');
  });

  test('a link under the name of a slot is no state of it', async () => {
    symlinkSync(at('file'), at(slotFile));
    const files = new MoveFiles(directory);
    expect(await files.bytesOf(slotFile)).toBeUndefined();
    await expect(readAll(files.read(slotFile))).rejects.toThrow('ELOOP');
  });
});
