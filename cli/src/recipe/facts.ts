/**
 * What this host is and has, as far as a recipe asks: looked at with bounds, told as it was seen, judged by
 * `requirements.ts`. Changes nothing.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { EnginePlan } from './agent-programs.ts';
import { gpusOf } from './recipe.ts';
import { type Gpu, type HostFacts, portsOf, type ToldRelease, type Wanted } from './requirements.ts';
import { holderOf } from './state.ts';
import type { StorePlace } from './stores/store.ts';
import { storeOf } from './stores/stores.ts';

/** A Python program imports its libraries before it says its release: half a minute on a slow disk. */
const runMsMax = 60_000;
/** Of what a program says of its release, or nvidia-smi of 64 GPUs. */
const outputBytesMax = 256 * 1024;
const mebibyte = 2 ** 20;

interface Said {
  readonly isThere: boolean;
  readonly isFine: boolean;
  readonly text: string;
}

const run = (program: string, argv: readonly string[]): Promise<Said> =>
  new Promise((accept) => {
    const options = { timeout: runMsMax, maxBuffer: outputBytesMax };
    execFile(program, [...argv], options, (error, out, errors) => {
      const isThere = !(error !== null && 'code' in error && error.code === 'ENOENT');
      accept({ isThere, isFine: error === null, text: `${out}\n${errors}`.trim() });
    });
  });

const gpuQuery = 'index,name,memory.total,driver_version,compute_cap';

/** One line of nvidia-smi: `0, NVIDIA H100, 81559, 580.82.07, 9.0`. */
export const gpuIn = (line: string): Gpu | undefined => {
  const [index, name, mebibytes, driver, capability] = line.split(',').map((cell) => cell.trim());
  if (!/^\d+$/.test(index ?? '') || name === undefined || driver === undefined) return undefined;
  return {
    index: Number(index),
    name,
    memoryBytes: Number(mebibytes) * mebibyte,
    driver,
    capability: capability ?? '0',
  };
};

const gpusHere = async (): Promise<HostFacts['gpus']> => {
  const said = await run('nvidia-smi', [`--query-gpu=${gpuQuery}`, '--format=csv,noheader,nounits']);
  if (!said.isThere) return 'nvidia-smi is not found';
  if (!said.isFine) return said.text.split('\n')[0] ?? 'nvidia-smi failed';
  const gpus = said.text.split('\n').flatMap((line) => gpuIn(line) ?? []);
  return gpus.length > 0 ? gpus : 'nvidia-smi shows no GPU';
};

/** Of the file system on which the path would be made. */
const freeBytesAt = (path: string): number | undefined => {
  let at = resolve(path);
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  try {
    const { bavail, bsize } = statfsSync(at);
    return bavail * bsize;
  } catch {
    return undefined;
  }
};

const isTaken = (port: number): Promise<boolean> =>
  new Promise((accept) => {
    const server = createServer();
    server.once('error', () => accept(true));
    server.listen(port, '127.0.0.1', () => server.close(() => accept(false)));
  });

const hasHubToken = ({ HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HOME = '' }: NodeJS.ProcessEnv): boolean => {
  if (HF_TOKEN) return true;
  const path = HF_TOKEN_PATH || join(HF_HOME || join(HOME, '.cache/huggingface'), 'token');
  try {
    return readFileSync(path, 'utf8').trim() !== '';
  } catch {
    return false;
  }
};

const releaseOf = async ({ name, release }: EnginePlan): Promise<ToldRelease> => {
  const [program, ...argv] = release ?? [];
  if (program === undefined) return { engine: name, text: undefined };
  const { isThere, text } = await run(program, argv);
  return { engine: name, text: isThere ? text : undefined };
};

/** Each program once, however many replicas it has. */
const releasesOf = (plans: readonly EnginePlan[]): Promise<readonly ToldRelease[]> => {
  const asked = new Map(plans.map((plan) => [JSON.stringify(plan.release), plan]));
  return Promise.all([...asked.values()].map(releaseOf));
};

export const factsOf = async (
  wanted: Wanted,
  dataDirectory: string,
  plans: readonly EnginePlan[],
): Promise<HostFacts> => {
  const { recipe } = wanted;
  const store = storeOf(recipe.model.store);
  const place: StorePlace = { id: recipe.model.id, dataDirectory, environment: process.env };
  const path = store.pathOf(place);
  const ports = portsOf(wanted).map(([port]) => port);
  const [gpus, taken, releases] = await Promise.all([
    gpusOf(recipe).length === 0 ? 'the recipe needs none' : gpusHere(),
    Promise.all(ports.map(isTaken)),
    releasesOf(plans),
  ]);
  return {
    platform: `${process.platform}-${process.arch}`,
    memoryBytes: totalmem(),
    gpus,
    model: {
      path,
      isThere: store.isThere(place),
      freeBytes: path === undefined ? undefined : freeBytesAt(path),
    },
    data: { directory: dataDirectory, freeBytes: freeBytesAt(dataDirectory) },
    takenPorts: ports.filter((_, at) => taken[at]),
    hasHubToken: hasHubToken(process.env),
    releases,
    heldBy: holderOf(dataDirectory),
  };
};
