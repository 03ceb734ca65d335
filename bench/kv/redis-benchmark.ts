/**
 * The Redis programs of the system (Debian: redis-server, redis-tools) as a bench uses them: one that serves, one that
 * asks. Throws what to install where they are missing.
 */
import { execFile } from 'node:child_process';

export const serverProgram = 'redis-server';
export const clientProgram = 'redis-benchmark';
const install = 'install Debian\'s redis-server and redis-tools ("apt-get install redis-server")';
const runMsMax = 120_000;

export interface BenchmarkOptions {
  readonly port: number;
  readonly test: 'get' | 'set';
  readonly connections: number;
  readonly requests: number;
  readonly valueBytes: number;
  /** Requests name one of so many keys by chance. */
  readonly keys: number;
}

/** Where a real server of today's release keeps nothing on a disk. */
export const serverArgs = (port: number): readonly string[] => [
  ...['--port', String(port), '--bind', '127.0.0.1'],
  ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
];

/** What the program prints. Throws when it ends with an error. */
const run = (program: string, args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(program, args, { timeout: runMsMax }, (error, out, errors) => {
      if (error === null) resolve(out);
      else if (error.code === 'ENOENT') reject(new Error(`there is no ${program}: ${install}`));
      else reject(new Error(`${program} ended with ${error.code}: ${errors || out}`));
    });
  });

/** Requests a second, out of its last line of CSV: `"SET","1203.37","0.79",...`. */
export const requestsPerSecond = async (options: BenchmarkOptions): Promise<number> => {
  const { port, test, connections, requests, valueBytes, keys } = options;
  const out = await run(clientProgram, [
    ...['-h', '127.0.0.1', '-p', String(port), '--csv', '-t', test],
    ...['-c', String(connections), '-n', String(requests), '-d', String(valueBytes), '-r', String(keys)],
  ]);
  const figure = Number(out.trim().split('\n').at(-1)?.split(',')[1]?.replaceAll('"', ''));
  if (Number.isFinite(figure)) return figure;
  throw new Error(`${clientProgram} said no figure: ${out.slice(-500)}`);
};

/** Keys that a server has. */
export const keysOf = async (port: number): Promise<number> =>
  Number(await run('redis-cli', ['-p', String(port), 'DBSIZE']));

export const isThere = async (port: number): Promise<boolean> =>
  (await run('redis-cli', ['-p', String(port), 'PING'])).trim() === 'PONG';
