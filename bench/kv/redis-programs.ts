/**
 * The Redis programs of the system (Debian: redis-server, redis-tools): one that serves, two that ask. Whoever needs
 * one that is missing is told what to install.
 */
import { spawn, spawnSync } from 'node:child_process';

const install = 'it comes with Debian\'s redis-server and redis-tools ("apt-get install redis-server")';
const runMsMax = 120_000;

/** What a program answers on its standard output. Throws when it ends with an error, or is not there. */
export const runRedisProgram = (
  program: 'redis-cli' | 'redis-benchmark',
  args: readonly string[],
  input?: Buffer,
): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { timeout: runMsMax, stdio: ['pipe', 'pipe', 'pipe'] });
    const [out, errors]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => errors.push(bytes));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('error', (thrown) => {
      const isMissing = 'code' in thrown && thrown.code === 'ENOENT';
      reject(isMissing ? new Error(`there is no ${program}: ${install}`) : thrown);
    });
    child.once('close', (code, signal) => {
      if (code === 0) resolve(Buffer.concat(out));
      else
        reject(new Error(`${program} ended with ${signal ?? code}: ${Buffer.concat([...errors, ...out])}`));
    });
  });

/** For a real server that keeps nothing on a disk: what starts it. Throws when there is none. */
export const redisServer = (port: number): readonly [program: string, ...args: string[]] => {
  const program = 'redis-server';
  if (spawnSync(program, ['--version']).error !== undefined)
    throw new Error(`there is no ${program}: ${install}`);
  return [
    program,
    ...['--port', String(port), '--bind', '127.0.0.1'],
    ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
  ];
};

export interface BenchmarkOptions {
  readonly port: number;
  readonly test: 'get' | 'set';
  readonly connections: number;
  readonly requests: number;
  readonly valueBytes: number;
  /** Requests name one of so many keys by chance. */
  readonly keys: number;
}

/** Requests a second, out of its last line of CSV: `"SET","1203.37","0.79",...`. */
export const requestsPerSecond = async (options: BenchmarkOptions): Promise<number> => {
  const { port, test, connections, requests, valueBytes, keys } = options;
  const out = await runRedisProgram('redis-benchmark', [
    ...['-h', '127.0.0.1', '-p', String(port), '--csv', '-t', test],
    ...['-c', String(connections), '-n', String(requests), '-d', String(valueBytes), '-r', String(keys)],
  ]);
  const figure = Number(out.toString().trim().split('\n').at(-1)?.split(',')[1]?.replaceAll('"', ''));
  if (Number.isFinite(figure)) return figure;
  throw new Error(`redis-benchmark said no figure: ${out.toString().slice(-500)}`);
};

/** What `redis-cli` prints for a command. */
export const redisCli = async (port: number, ...words: readonly string[]): Promise<string> =>
  (await runRedisProgram('redis-cli', ['-p', String(port), ...words])).toString().trim();
