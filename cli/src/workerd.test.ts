import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { reapStaleEdge, rememberPid } from './workerd.ts';

/** A process with these arguments that answers whatever it is told. */
const startProcess = (...argv: string[]): ChildProcess => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)', ...argv], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
};

const answers = async (child: ChildProcess): Promise<boolean> => {
  // Writing to a child that has ended is the answer no.
  child.stdin?.on('error', () => {});
  child.stdin?.write('there?');
  return Promise.race([
    once(child.stdout ?? child, 'data').then(() => true),
    once(child, 'exit').then(() => false),
  ]);
};

/** A data directory whose last edge had this pid. */
const leftBehind = (
  pid: number | string | undefined,
): { dataDirectory: string; pidPath: string; configPath: string } => {
  const dataDirectory = newDirectory();
  const pidPath = join(dataDirectory, 'edge/workerd.pid');
  mkdirSync(join(dataDirectory, 'edge'));
  if (pid !== undefined) writeFileSync(pidPath, `${pid}\n`);
  return { dataDirectory, pidPath, configPath: join(dataDirectory, 'edge/config.capnp') };
};

const onLinux = test.skipIf(!existsSync('/proc/self/cmdline'));

onLinux('an edge that a killed "cgn up" left behind is ended', async () => {
  const { dataDirectory, pidPath, configPath } = leftBehind(undefined);
  const child = startProcess('serve', '--control-fd=3', configPath);
  writeFileSync(pidPath, `${child.pid}\n`);
  // For a moment after its start the system does not show its arguments yet.
  expect(await answers(child)).toBe(true);
  await reapStaleEdge(dataDirectory);
  await expect.poll(() => child.signalCode).toBe('SIGKILL');
  expect(existsSync(pidPath)).toBe(false);
});

onLinux.each([
  ['that has nothing to do with us', () => []],
  ['that only reads our configuration', (path: string) => [path]],
  ['that serves another data directory', (path: string) => ['serve', `/other${path}`]],
  ['that serves one whose name begins like ours', (path: string) => ['serve', `${path}.2`]],
])('a process %s keeps running although it has the pid', async (_, argvOf) => {
  const { dataDirectory, pidPath, configPath } = leftBehind(undefined);
  const child = startProcess(...argvOf(configPath));
  writeFileSync(pidPath, `${child.pid}\n`);
  await reapStaleEdge(dataDirectory);
  expect(await answers(child)).toBe(true);
  expect(existsSync(pidPath)).toBe(false);
});

test.each([undefined, '', 'garbage', '999999999'])('the pid %j ends nobody', async (pid) => {
  const { dataDirectory, pidPath } = leftBehind(pid);
  await reapStaleEdge(dataDirectory);
  expect(existsSync(pidPath)).toBe(false);
});

onLinux('an edge whose "cgn up" was killed before it listened is known by its pid all the same', async () => {
  const { dataDirectory, pidPath, configPath } = leftBehind(undefined);
  const child = startProcess('serve', '--control-fd=3', configPath);
  expect(rememberPid(child, pidPath)).toBe(child.pid);
  await reapStaleEdge(dataDirectory);
  await expect.poll(() => child.signalCode).toBe('SIGKILL');
});

test('an edge whose pid cannot be written down is not left running', async () => {
  const { pidPath } = leftBehind(undefined);
  mkdirSync(pidPath);
  const child = startProcess();
  expect(() => rememberPid(child, pidPath)).toThrow('EISDIR');
  await expect.poll(() => child.signalCode).toBe('SIGKILL');
});
