/** Values that say which key they belong to, and what a daemon's metrics say. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

const nameBytes = 32;
const digestBytes = 32;

const digestOf = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Random bytes between a name and the digest of all before. */
export const valueFor = (name: string, bytes: number): Buffer => {
  const value = randomBytes(Math.max(bytes, nameBytes + digestBytes));
  value.write(name.padEnd(nameBytes), 0);
  digestOf(value.subarray(0, -digestBytes)).copy(value, value.length - digestBytes);
  return value;
};

/** The name of a whole value; undefined of one that is not as it was made. */
export const nameOf = (value: Buffer): string | undefined =>
  digestOf(value.subarray(0, -digestBytes)).equals(value.subarray(-digestBytes))
    ? value.toString('latin1', 0, nameBytes).trimEnd()
    : undefined;

/** Gone with its test. */
export const temporaryDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kvcached-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

/** A figure of `/metrics`, by its name and the labels that follow it. */
export const metric = async (statusUrl: string, name: string): Promise<number> => {
  const page = await (await fetch(`${statusUrl}/metrics`)).text();
  return Number(
    page
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.split(' ')
      .at(-1),
  );
};

export const dirtyBytes = (statusUrl: string): Promise<number> =>
  metric(statusUrl, 'cognitora_kv_dirty_bytes');
