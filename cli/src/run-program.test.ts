import { writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { runProgram } from './run-program.ts';

const root = resolve(import.meta.dirname, '../..');

const signals = ['SIGINT', 'SIGTERM'] as const;
const before = signals.map((signal) => process.listeners(signal));

afterEach(() => {
  vi.restoreAllMocks();
  for (const [index, signal] of signals.entries()) {
    for (const heard of process.listeners(signal)) {
      if (!before[index]?.includes(heard)) process.off(signal, heard);
    }
  }
});

test.each([
  ['process.kill(process.pid, "SIGKILL")', 1, 'The agent ended (SIGKILL).\n'],
  ['process.exit(2)', 2, ''],
  ['', 0, ''],
])(
  'of a daemon that does %j the status is %i, and what it could not say itself is said',
  async (does, status, said) => {
    const program = join(newDirectory(), 'program.js');
    writeFileSync(program, does);
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    const run = { name: 'agent', program: relative(root, program), argv: [], options: {} };
    expect([await runProgram(run), written.join('')]).toEqual([status, said]);
  },
);
