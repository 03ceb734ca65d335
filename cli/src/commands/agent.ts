/**
 * `cgn agent`: the node agent, as a program of its own in this terminal, where it may ask for the join token. Signals
 * reach it as they reach us; that we are gone without one (SIGKILL) it learns from a pipe of its own.
 * `cgn agent status` asks one that runs.
 */
import { spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentStatus } from './agent-status.ts';

const program = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../..'), 'node-agent/src/main.ts');

/** Resolves with the exit status: of the agent, or of what was asked about it. */
export const agent = (argv: readonly string[]): Promise<number> => {
  const [first, ...rest] = argv;
  return first === 'status' ? agentStatus(rest) : runAgent(argv);
};

const runAgent = (argv: readonly string[]): Promise<number> =>
  new Promise((accept) => {
    const child = spawn(process.execPath, [program, ...argv], {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, COGNITORA_PARENT_PIPE: '3' },
    });
    // The pipe only tells of our end; what becomes of the child's end of it is no failure of ours.
    child.stdio[3]?.on('error', () => {});
    // A terminal's Ctrl-C reaches the child too; a signal sent to us alone is passed on.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    // From a service manager; that of a terminal that is gone reaches both, and ends both.
    if (!process.stdin.isTTY) process.on('SIGHUP', () => child.kill('SIGHUP'));
    child.once('exit', (code) => accept(code ?? 1));
  });
