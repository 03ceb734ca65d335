/** `cgn agent`: the node agent, as a program of its own in this terminal. Signals reach it as they reach us. */
import { spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const program = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../..'), 'node-agent/src/main.ts');

/** Resolves with the agent's exit status. */
export const agent = (argv: readonly string[]): Promise<number> =>
  new Promise((accept) => {
    const child = spawn(process.execPath, [program, ...argv], { stdio: 'inherit' });
    // A terminal's Ctrl-C reaches the child too; a signal sent to us alone is passed on.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.once('exit', (code) => accept(code ?? 1));
  });
