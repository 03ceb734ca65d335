/**
 * Starting a program that is not the bench's own: no shell, output kept short, ended by its pid and nothing
 * else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { delayMs, monotonicUs } from '../machine/clock.ts';

export interface Program {
  readonly pid: number;
  readonly child: ChildProcess;
  /** The last lines it wrote, for when it fails. */
  tail(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const tailCharsMax = 4000;

export const startProgram = (
  path: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  onOutput: (text: string) => void = () => {},
): Program => {
  const child = spawn(path, [...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
  });
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      tail = (tail + text).slice(-tailCharsMax);
      onOutput(text);
    });
  }
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const endWithUs = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', endWithUs);
  return {
    pid: child.pid ?? 0,
    child,
    tail: () => tail,
    stop: async (signal = 'SIGKILL') => {
      child.kill(signal);
      await exited;
      process.removeListener('exit', endWithUs);
    },
  };
};

/** Asks again and again until `isThere` says yes. Throws with `what` when it takes longer than `msMax`. */
export const waitUntil = async (
  what: string,
  msMax: number,
  isThere: () => Promise<boolean>,
): Promise<void> => {
  const deadlineUs = monotonicUs() + msMax * 1e3;
  for (;;) {
    const answer = await isThere().catch(() => false);
    if (answer) return;
    if (monotonicUs() > deadlineUs) throw new Error(`${what} took longer than ${msMax} ms`);
    await delayMs(25);
  }
};
