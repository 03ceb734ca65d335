/** `cgn kvcached`: the KV daemon, as a program of its own in this terminal. Signals reach it as they reach us. */
import { spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const program = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../..'), 'kvcache/src/main.ts');

/** Resolves with the daemon's exit status. */
export const kvcached = (argv: readonly string[]): Promise<number> =>
  new Promise((accept) => {
    const child = spawn(process.execPath, [program, ...argv], { stdio: 'inherit' });
    // A terminal's Ctrl-C reaches the child too; it ends once what waits is on the disk.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.once('exit', (code) => accept(code ?? 1));
  });
