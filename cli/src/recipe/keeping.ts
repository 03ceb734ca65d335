/**
 * Starting a keeper and following it until it serves, and ending one: the command's side of `keeper.ts`. The keeper is
 * a process of its own session, so that neither Ctrl-C nor the end of the terminal reaches it.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { monotonicMs } from '../clock.ts';
import { withFile } from '../file-trouble.ts';
import { eachLine } from '../lines.ts';
import { UserError } from '../terminal.ts';
import { reapStaleEdge } from '../workerd.ts';
import { keeperLineIn, type Served } from './keeper-lines.ts';
import { isKept, type RecipeState, removeState } from './state.ts';

const program = join(dirname(fileURLToPath(import.meta.url)), 'keeper.ts');

/** An agent's drain, its engines' SIGTERM, kvcached's last writes; then it is killed. */
const endMsMax = 90_000;
const pollMs = 50;

export interface KeeperOptions {
  readonly recipe: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly joined: string | undefined;
  readonly onStep: (step: string, text: string) => void;
  /** Aborted: the keeper is asked to end, and what it started with it. */
  readonly signal: AbortSignal;
}

const keeperLogIn = (dataDirectory: string): string => join(dataDirectory, 'logs/recipe.log');

/** Of the keeper that was there last, with where it left them; undefined: it left none, as who is asked to end does. */
export const lastWordsIn = (dataDirectory: string): string | undefined => {
  const path = keeperLogIn(dataDirectory);
  const [first = ''] = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  return first === '' ? undefined : `What was up there last said: ${first}\n${path} has all of it.`;
};

/** Resolves once requests are served. Rejects with a `UserError` once all that was started has ended. */
export const startKeeper = (options: KeeperOptions): Promise<Served> => {
  const { recipe, dataDirectory, port, joined, onStep, signal } = options;
  const logPath = keeperLogIn(dataDirectory);
  withFile(dirname(logPath), () => mkdirSync(dirname(logPath), { recursive: true, mode: 0o700 }));
  const log = withFile(logPath, () => openSync(logPath, 'w', 0o600));
  const argv = [program, '--recipe', recipe, '--data-dir', dataDirectory, '--port', String(port)];
  const child = spawn(process.execPath, joined === undefined ? argv : [...argv, '--edge', joined], {
    stdio: ['ignore', 'pipe', log],
    detached: true,
  });
  closeSync(log);
  const { stdout } = child;
  if (stdout === null) throw new Error('The keeper has no pipe to tell by.');
  const ask = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', ask, { once: true });
  return new Promise((accept, reject) => {
    let failure: string | undefined;
    eachLine(stdout, (line) => {
      const told = keeperLineIn(line);
      if (told?.event === 'step') onStep(told.step, told.text);
      if (told?.event === 'failed') failure = told.message;
      if (told?.event === 'served') {
        // It goes on without us.
        stdout.destroy();
        child.unref();
        accept(told.served);
      }
    });
    child.once('error', reject);
    child.once('close', () => {
      signal.removeEventListener('abort', ask);
      const why = signal.aborted ? 'Stopped; nothing of it runs.' : `It ended. ${logPath} has more.`;
      reject(new UserError(failure ?? why));
    });
  });
};

/** Ends what that keeper started, and waits until it is gone. False: it was gone already, and is cleared away. */
export const endKeeper = async (state: RecipeState, dataDirectory: string): Promise<boolean> => {
  const isThere = isKept(state, dataDirectory);
  if (isThere) {
    process.kill(state.pid, 'SIGTERM');
    const untilMs = monotonicMs() + endMsMax;
    while (isKept(state, dataDirectory) && monotonicMs() < untilMs) await delay(pollMs);
    if (isKept(state, dataDirectory)) process.kill(state.pid, 'SIGKILL');
  }
  // What it started hears of its end by its pipes, but for the edge.
  await reapStaleEdge(dataDirectory);
  removeState(dataDirectory);
  return isThere;
};
