/**
 * `cgn agent`: the node agent, as a program of its own in this terminal, where it may ask for the join token. Signals
 * reach it as they reach us; that we are gone without one (SIGKILL) it learns from a pipe of its own.
 * `cgn agent status` asks one that runs.
 */
import { runProgram } from '../run-program.ts';
import { agentStatus } from './agent-status.ts';

/** Resolves with the exit status: of the agent, or of what was asked about it. */
export const agent = (argv: readonly string[]): Promise<number> => {
  const [first, ...rest] = argv;
  return first === 'status' ? agentStatus(rest) : runAgent(argv);
};

const runAgent = (argv: readonly string[]): Promise<number> =>
  runProgram({
    name: 'agent',
    program: 'node-agent/src/main.ts',
    argv,
    options: {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      env: { ...process.env, COGNITORA_PARENT_PIPE: '3' },
    },
    onStarted: (child) => {
      // The pipe only tells of our end; what becomes of the child's end of it is no failure of ours.
      child.stdio[3]?.on('error', () => {});
      // From a service manager; that of a terminal that is gone reaches both, and ends both.
      if (!process.stdin.isTTY) process.on('SIGHUP', () => child.kill('SIGHUP'));
    },
  });
