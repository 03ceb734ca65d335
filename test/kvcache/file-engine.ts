/**
 * A program that writes files as an engine does that offloads to them, or reads them as one does: whatever of these
 * names is there must be whole. Each file ends with the SHA-256 of what is before. For tests, as a process of its own.
 *
 *   file-engine.ts aside|in-place DIRECTORY FILES     writes, says "done", ends
 *   file-engine.ts read DIRECTORY                     reads all over and over until its input ends, says what it saw
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export const isWhole = (bytes: Buffer): boolean =>
  bytes.length > 32 &&
  createHash('sha256').update(bytes.subarray(0, -32)).digest().equals(bytes.subarray(-32));

const made = (): Buffer => {
  const bytes = randomBytes(200_000);
  return Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]);
};

/** Under another name in the same directory, then renamed: three levels as vLLM, and one as SGLang. */
const writeAside = async (directory: string, files: number): Promise<void> => {
  for (let index = 0; index < files; index += 1) {
    const hash = randomBytes(32).toString('hex');
    const nested = `meta_Llama_0123456789ab_r0/${hash.slice(0, 3)}/${hash.slice(3, 5)}_g0/${hash}.bin`;
    for (const [path, beside] of [
      [nested, `${nested}_${index}.tmp`],
      [`${hash}_Qwen_0_1.bin`, `${hash}_Qwen_0_1.bin.tmp.${process.pid}.1.${hash.slice(32)}`],
    ] as const) {
      const bytes = made();
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, beside), bytes.subarray(0, 100_000));
      await pause(5);
      writeFileSync(join(directory, beside), bytes);
      renameSync(join(directory, beside), join(directory, path));
    }
  }
};

/** In place and slowly, as llama.cpp writes a slot to a busy disk. Over an earlier one of its name, too. */
const writeInPlace = async (directory: string, files: number): Promise<void> => {
  for (let index = 0; index < files; index += 1) {
    const file = openSync(join(directory, `slot-${index % 3}.bin`), 'w');
    const bytes = made();
    for (let at = 0; at < bytes.length; at += 50_000) {
      writeSync(file, bytes, at, Math.min(50_000, bytes.length - at));
      await pause(120);
    }
    closeSync(file);
  }
};

const readOver = async (directory: string): Promise<void> => {
  let isEnded = false;
  process.stdin.resume().once('end', () => {
    isEnded = true;
  });
  const seen = new Set<string>();
  let broken = 0;
  // Once more when it ends: what was there before is seen.
  for (let isLast = false; !isLast; ) {
    isLast = isEnded;
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.bin')) continue;
      seen.add(name);
      if (!isWhole(readFileSync(join(directory, name)))) broken += 1;
    }
    await pause(1);
  }
  process.stdout.write(`${JSON.stringify({ seen: seen.size, broken })}\n`);
};

const [what, directory = '', files = '1'] = process.argv.slice(2);
if (what === 'aside') await writeAside(directory, Number(files));
if (what === 'in-place') await writeInPlace(directory, Number(files));
if (what === 'read') await readOver(directory);
