/**
 * What must be equal on two hosts before one may restore what the other saved: the model's file, the engine's build and
 * layout, and the size of the state of a prompt that is the same everywhere, which shows KV types and whether slots
 * share one cache. Engines check shapes at most; a file of other weights they would restore without a word.
 */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { openPlain } from './plain-file.ts';

export interface EngineFacts {
  /** As `modelFileHash` says. */
  readonly model: string;
  readonly build: string;
  readonly slots: number;
  /** Of one slot. */
  readonly contextTokens: number;
  /** Tokens and bytes of the probe's prompt as the engine saved it. */
  readonly probeTokens: number;
  readonly probeBytes: number;
}

export const fingerprintBytes = 32;

/** Bytes at each place of a model's file that are looked at. */
const sampleBytes = 256 * 1024;
/**
 * Head, tail and places between: 4 MiB are read in a moment, a whole file of 40 GB is not. Two files of the same size
 * that differ, differ nearly everywhere.
 */
const samples = 16;

const addSample = async (hash: Hash, file: FileHandle, position: number, bytes: number): Promise<void> => {
  const buffer = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(buffer, 0, bytes, position);
  hash.update(buffer.subarray(0, bytesRead));
};

/** As GGUF files are called that are split: an engine names the first one, and most weights are in the others. */
const splitPattern = /-\d{5}-of-\d{5}\.[^./]+$/;

/** Whether the file of that path is one of several, by its name. */
export const isPartOfModel = (path: string): boolean => splitPattern.test(path);

/** Of a file's size and samples. Rejects when it cannot be read. */
export const modelFileHash = async (path: string): Promise<string> => {
  const file = await openPlain(path, 'follow');
  try {
    const { size } = await file.stat();
    const hash = createHash('sha256').update(`${size}/`);
    const last = Math.max(0, size - sampleBytes);
    for (let sample = 0; sample < samples; sample += 1) {
      await addSample(hash, file, Math.floor((last * sample) / (samples - 1)), sampleBytes);
    }
    return hash.digest('hex');
  } finally {
    await file.close();
  }
};

export const fingerprintOf = (facts: EngineFacts): Buffer => {
  const { model, build, slots, contextTokens, probeTokens, probeBytes } = facts;
  const fields = JSON.stringify([model, build, slots, contextTokens, probeTokens, probeBytes]);
  return createHash('sha256').update(fields).digest();
};
