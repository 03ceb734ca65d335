/**
 * The process that keeps a recipe up, started by `cgn recipe up` and ended by `cgn recipe down`. Tells its parent by
 * lines (`keeper-lines.ts`) until requests are served, and outlives it. Holds the data directory's lock and its
 * state; both are gone when it ends in order.
 *
 *   node keeper.ts --recipe NAME --data-dir DIR --port PORT [--edge URL]
 */
import { parseArgs } from 'node:util';
import { messageOf } from '@cognitora/protocol/errors';
import { RepeatedSignals } from '@cognitora/protocol/repeated-signals';
import { monotonicMs, wallMs } from '../clock.ts';
import { fileTrouble } from '../file-trouble.ts';
import { UserError, warn } from '../terminal.ts';
import { lock } from '../up-lock.ts';
import { BringUp } from './bring-up.ts';
import { loadRecipe } from './catalogue.ts';
import type { KeeperLine } from './keeper-lines.ts';
import { removeState, saveState } from './state.ts';

/** Until the parent has left; what nobody reads is dropped. */
const tell = (line: KeeperLine): void => {
  if (process.stdout.writable) process.stdout.write(`${JSON.stringify(line)}\n`);
};

const options = {
  recipe: { type: 'string', default: '' },
  'data-dir': { type: 'string', default: '' },
  port: { type: 'string', default: '0' },
  edge: { type: 'string' },
} as const;

const keep = async (): Promise<void> => {
  const { values } = parseArgs({ options, strict: true });
  const dataDirectory = values['data-dir'];
  const recipe = loadRecipe(values.recipe);
  const unlock = lock(dataDirectory);
  const asked = new AbortController();
  const port = Number(values.port);
  const edge = values.edge ?? `http://127.0.0.1:${port}`;
  saveState(dataDirectory, { recipe: recipe.name, pid: process.pid, startedAtMs: wallMs(), edge });
  const up = new BringUp({
    ...{ recipe, dataDirectory, port, joined: values.edge, signal: asked.signal },
    joinToken: process.env.COGNITORA_JOIN_TOKEN ?? '',
    tell: (step, text) => tell({ event: 'step', step, text }),
  });
  // A fault of ours must not leave processes behind that nobody minds.
  process.once('uncaughtException', (thrown: unknown) => {
    up.kill();
    fail(thrown);
    process.exit(1);
  });
  const ended = new Promise<void>((accept) => asked.signal.addEventListener('abort', () => accept()));
  const signals = new RepeatedSignals();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (signals.heard(monotonicMs()) === 'again') up.kill();
      asked.abort();
    });
  }
  try {
    const served = await Promise.race([up.served(), ended]);
    if (served !== undefined) {
      tell({ event: 'served', served });
      await Promise.race([ended, up.failed]);
    }
  } finally {
    // Whatever still waits for the model or an engine has no use any more.
    asked.abort();
    await up.stop();
    removeState(dataDirectory);
    unlock();
  }
};

const fail = (thrown: unknown): void => {
  const told = thrown instanceof UserError ? thrown : fileTrouble(thrown);
  const message = told?.message ?? (thrown instanceof Error ? thrown.stack : undefined) ?? messageOf(thrown);
  tell({ event: 'failed', message });
  warn(message);
};

process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
try {
  await keep();
} catch (thrown) {
  fail(thrown);
  process.exitCode = 1;
}
process.exit();
