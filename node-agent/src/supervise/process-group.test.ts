import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { OutputLines } from './output-lines.ts';
import { ProcessGroup } from './process-group.ts';

/** A group that runs a shell's script, with what it says and how it ends. */
const run = (script: string, environment: Readonly<Record<string, string>> = {}) => {
  const said: string[] = [];
  let end = (_: string): void => {};
  const ended = new Promise<string>((resolve) => {
    end = resolve;
  });
  const group = new ProcessGroup({
    program: '/bin/sh',
    argv: ['-c', script],
    environment: { PATH: process.env.PATH, ...environment },
    onOutput: (output) => {
      const lines = new OutputLines((line) => said.push(line));
      output.on('data', (bytes: Buffer) => lines.push(bytes));
    },
    onEnd: (how) => end(how),
  });
  onTestFinished(() => group.kill());
  return { group, said, ended };
};

/** Runs, and is no zombie that somebody has yet to look at. */
const isAlive = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

const goneMs = { timeout: 10_000 };

test('the program leads its group, gets its environment, and its status is told', async () => {
  const { group, said, ended } = run('echo "$$ $WORD"; exit 7', { WORD: 'here' });
  expect(await ended).toBe('ended with status 7');
  expect(said).toEqual([`${group.pid} here`]);
});

test('workers that it leaves behind end with it', async () => {
  const { said, ended } = run('sleep 1000 >/dev/null 2>&1 & echo $!; kill -9 $$');
  expect(await ended).toBe('was ended by SIGKILL');
  await vi.waitFor(() => expect(isAlive(Number(said[0]))).toBe(false), goneMs);
});

test('a program that is not there is told', async () => {
  const said: string[] = [];
  const how = await new Promise((resolve) => {
    const group = new ProcessGroup({
      program: 'no-such-engine',
      argv: [],
      environment: { PATH: '/nowhere' },
      onOutput: (output) => output.on('data', (bytes: Buffer) => said.push(bytes.toString())),
      onEnd: resolve,
    });
    onTestFinished(() => group.kill());
  });
  expect(how).toBe('ended with status 127');
  expect(said.join('')).toContain('no-such-engine');
});

test('asking it to end reaches all of it, and it may take its time', async () => {
  const { group, said, ended } = run("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done");
  await vi.waitFor(() => expect(said).toContain('up'), goneMs);
  group.terminate();
  expect(await ended).toBe('ended with status 0');
  expect(said).toContain('asked');
});

test('the group ends with whoever started it, also one that is killed, and when asked to end before', async () => {
  const program = new URL('process-group.ts', import.meta.url).href;
  const owner = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { ProcessGroup } from '${program}';
       const group = new ProcessGroup({
         program: '/bin/sh', argv: ['-c', "trap '' TERM INT HUP; echo $$; while :; do sleep 0.05; done"],
         environment: { PATH: process.env.PATH },
         onOutput: (output) => output.on('data', (pid) => {
           group.terminate();
           process.stdout.write(pid);
         }),
         onEnd: () => {},
       });`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void owner.kill('SIGKILL'));
  const pid = await new Promise<number>((resolve) => {
    owner.stdout.once('data', (bytes: Buffer) => resolve(Number(bytes.toString())));
  });
  expect(isAlive(pid)).toBe(true);
  owner.kill('SIGKILL');
  await vi.waitFor(() => expect(isAlive(pid)).toBe(false), goneMs);
});
