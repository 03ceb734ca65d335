/**
 * What was once verified stays known: `FILE.verified` holds the digest that the hub named for FILE, and the size and
 * time that FILE had when its bytes were found to have it.
 *
 *   size and time as recorded    FILE is what was verified
 *   other size or time           FILE was touched: only its digest can say
 *   no record                    nobody knows: it was put there by hand, or by a version that kept none
 */
import { createReadStream } from 'node:fs';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { type Digest, parseDigest, startHash } from './hub.ts';

export interface Expected {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

interface Recorded extends Expected {
  readonly modifiedMs: number;
}

/** Beside the file, whatever its name: models are looked for by their ending. */
export const recordOf = (file: string): string => `${file}.verified`;

/** Writes the record of a file whose bytes were just found to have the digest. */
export async function recordVerified(file: string, expected: Expected): Promise<void> {
  const { digest, sizeBytes } = expected;
  const modifiedMs = Math.floor((await stat(file)).mtimeMs);
  const temporary = `${recordOf(file)}.${process.pid}`;
  await writeFile(temporary, `${digest.hex} ${sizeBytes} ${modifiedMs}\n`);
  await rename(temporary, recordOf(file));
}

/** What was verified; `undefined` without a record that can be read. */
export async function readVerified(file: string): Promise<Recorded | undefined> {
  const text = await readFile(recordOf(file), 'utf8').catch(() => '');
  const [hex = null, size, modified] = text.trim().split(' ');
  const digest = parseDigest(hex);
  const numbers = [Number(size), Number(modified)];
  if (digest === undefined || !numbers.every((value) => Number.isSafeInteger(value))) return undefined;
  return { digest, sizeBytes: Number(size), modifiedMs: Number(modified) };
}

/** Whether the file is, by size and time, the one that was verified. Reads none of its bytes. */
export async function isAsVerified(file: string): Promise<boolean> {
  const [found, recorded] = await Promise.all([stat(file).catch(() => undefined), readVerified(file)]);
  return (
    found !== undefined &&
    found.size === recorded?.sizeBytes &&
    Math.floor(found.mtimeMs) === recorded.modifiedMs
  );
}

/** Reads the whole file. */
export async function digestOf(file: string, { digest, sizeBytes }: Expected): Promise<string> {
  const hash = startHash(digest, sizeBytes);
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex');
}

/** Whether the file's bytes are the expected ones. */
export async function hasBytes(file: string, expected: Expected): Promise<boolean> {
  const found = await stat(file).catch(() => undefined);
  return found?.size === expected.sizeBytes && (await digestOf(file, expected)) === expected.digest.hex;
}
