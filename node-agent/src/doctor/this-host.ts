/** The host that the doctor runs on: programs, files, URLs. Looks and says what it saw; decides nothing. */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { Agent, request } from 'undici';
import { agentLock } from '../directory-lock.ts';
import { readBounded } from '../engines/engine.ts';
import { isEnrolledIn } from '../identity.ts';
import { hostFiles } from '../truth/render/local/find-tokenizer.ts';
import type { Host, RanProgram } from './check.ts';

/** Engines load their libraries before they show their options: a minute on a slow disk. */
const runMsMax = 180_000;
/** The longest help of an engine takes about 200 kB. */
const outputCharsMax = 4 * 1024 * 1024;
const askMsMax = 5_000;
/** A catalogue of models. */
const answerBytesMax = 4 * 1024 * 1024;

const canRun = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

const find = (program: string): string | undefined => {
  if (program.includes('/')) return canRun(program) ? program : undefined;
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, program)).find(canRun);
};

const run = (
  program: string,
  argv: readonly string[],
  environment: ReadonlyMap<string, string>,
): Promise<RanProgram | string> =>
  new Promise((accept) => {
    const child = spawn(program, [...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // What it starts of its own ends with it.
      detached: true,
      env: { ...process.env, ...Object.fromEntries(environment) },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (output.length < outputCharsMax) output += text;
      });
    }
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, runMsMax);
    child.once('error', (error) => {
      clearTimeout(timer);
      accept(error.message);
    });
    child.once('close', (status) => {
      clearTimeout(timer);
      accept({ status: status ?? undefined, output });
    });
  });

const ask: Host['ask'] = async (url, headers, socket) => {
  const through = socket === undefined ? {} : { dispatcher: new Agent({ connect: { socketPath: socket } }) };
  try {
    const signal = AbortSignal.timeout(askMsMax);
    const { statusCode, body } = await request(url, { headers, signal, ...through });
    return { status: statusCode, text: new TextDecoder().decode(await readBounded(body, answerBytesMax)) };
  } catch (thrown) {
    if (!(thrown instanceof Error)) return String(thrown);
    if (thrown.name === 'TimeoutError') return `nothing came within ${askMsMax / 1000} s`;
    return thrown.message || ('code' in thrown ? String(thrown.code) : thrown.name);
  }
};

/** The path, or the nearest one above it that is there: where a directory would be made. */
const nearest = (path: string): string => {
  let at = resolve(path);
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
};

const directoryTrouble = (path: string): string | undefined => {
  const there = nearest(path);
  if (!statSync(there).isDirectory()) return `${there} is no directory`;
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return `${there} cannot be written by this user`;
  }
};

const isEnrolled: Host['isEnrolled'] = (directory, edge) => {
  try {
    return isEnrolledIn(directory, edge);
  } catch {
    // What this user may not read the agent may not either.
    return false;
  }
};

export const thisHost: Host = {
  nodeVersion: process.versions.node,
  find,
  run,
  ask,
  directoryTrouble,
  isEnrolled,
  agentIn: (directory) => agentLock.ownerIn(directory),
  isThere: existsSync,
  tokenizerFiles: hostFiles,
  environment: process.env,
};
