/**
 * One of our daemons as a program of its own in this terminal. Signals reach it as they reach us: a terminal's Ctrl-C
 * by itself, one that is sent to us alone is passed on. Knows no daemon.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { warn } from './terminal.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

export interface ProgramRun {
  /** For people. */
  readonly name: string;
  /** From the root of the tree. */
  readonly program: string;
  readonly argv: readonly string[];
  readonly options: SpawnOptions;
  readonly onStarted?: (child: ChildProcess) => void;
}

/** Resolves with its exit status. One that a signal ended could not say so itself. */
export const runProgram = ({ name, program, argv, options, onStarted }: ProgramRun): Promise<number> =>
  new Promise((accept) => {
    const child = spawn(process.execPath, [join(root, program), ...argv], options);
    onStarted?.(child);
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.once('exit', (code, signal) => {
      if (signal !== null) warn(`The ${name} ended (${signal}).`);
      accept(code ?? 1);
    });
  });
