#!/usr/bin/env node
/**
 * In the place of an engine's program: refuses options that the recorded release does not have, as that would, then is
 * a fake of the engine. What it is called as says which one: `node shim.ts vllm serve MODEL --port 8000 ...`.
 *
 *   SHIM_MODEL          what a server without a model of its own lists
 *   SHIM_DOWNLOAD_TO    a folder of the hub's cache, into which a model is "fetched" before it loads
 *   FAKE_...            as ../fakes/engine-program.ts has them
 */
import { appendFileSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { helpOf, releaseOf, unknownTo } from './releases.ts';

const [called = '', ...argv] = process.argv.slice(2);
const profiles: Readonly<Record<string, string>> = {
  'llama-server': 'llama-cpp',
  'trtllm-serve': 'trtllm',
  // As whom Python is asked: for a module's release, or to run it.
  python3: argv.some((word) => word.includes('tensorrt_llm')) ? 'trtllm' : 'sglang',
};
const profile = profiles[called] ?? called;

const say = (text: string): never => {
  process.stdout.write(`${text}\n`);
  process.exit(0);
};
if (argv.includes('--version') || argv[0] === '-c') say(releaseOf(profile).version);
if (argv.some((word) => /^--help(?:=all)?$/.test(word))) say(helpOf(profile));
const unknown = unknownTo(profile, argv);
if (unknown.length > 0) {
  process.stderr.write(`${called}: ${releaseOf(profile).name} does not know ${unknown.join(', ')}\n`);
  process.exit(2);
}

const folder = process.env.SHIM_DOWNLOAD_TO;
if (folder !== undefined) {
  const blobs = join(folder, 'blobs');
  const snapshot = join(folder, 'snapshots', 'main');
  for (const path of [blobs, snapshot]) mkdirSync(path, { recursive: true });
  const part = join(blobs, 'weights.incomplete');
  for (let parts = 0; parts < 6; parts += 1) {
    appendFileSync(part, Buffer.alloc(64 * 1024));
    await delay(250);
  }
  renameSync(part, part.replace('.incomplete', ''));
  symlinkSync(join('../../blobs', basename(part, '.incomplete')), join(snapshot, 'model.safetensors'));
}
process.env.FAKE_ENGINE = profile;
const { SHIM_MODEL } = process.env;
process.argv.splice(2, 1);
if (SHIM_MODEL !== undefined) process.argv.push('--model', SHIM_MODEL);
await import('../fakes/engine-program.ts');
