/**
 * `npm run bench:kv-redis`: GET and SET of 1 MiB by Redis' own benchmark against the KV daemon and against a real
 * Redis server, on the same machine in the same run.
 *
 *   node bench/kv/redis.ts [--rounds 7] [--json] [--save]
 */
import '../machine/exit-on-signal.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { freePort } from '../../cli/src/free-port.ts';
import { delayMs } from '../machine/clock.ts';
import { beginReport, type Goal } from '../report/result.ts';
import { median, rounded } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { startProgram, waitUntil } from '../systems/program.ts';
import { redisCli, redisServer, requestsPerSecond } from './redis-programs.ts';

const method =
  'redis-benchmark -d 1048576 -r 64, GET and SET, 1 and 16 connections, over TCP on loopback. Each round ' +
  'starts every system in a fresh process, in an order that is turned round each time, fills its 64 keys ' +
  'and reads them (1,280 of each), rests, and measures the four cells one after another; the client shares ' +
  'the cores with the server. redis-server keeps nothing on a disk; kvcached runs once likewise (--disk 0: ' +
  'the goals are on this one) and once writing behind to its disk. Ratios are within a round; their median ' +
  'is told.';

const valueBytes = 2 ** 20;
const keys = 64;
/** A second or so each. */
const cells = [
  { name: 'GET x1', test: 'get', connections: 1, requests: 2_000, ratioMin: 0.9 },
  { name: 'GET x16', test: 'get', connections: 16, requests: 2_000, ratioMin: 0.9 },
  { name: 'SET x1', test: 'set', connections: 1, requests: 1_500, ratioMin: 0.75 },
  { name: 'SET x16', test: 'set', connections: 16, requests: 1_500, ratioMin: 0.75 },
] as const;
/** What is written behind the fill is on the disk by then. */
const restMs = 1_500;
/** Twenty times the keys: none is left out by chance. */
const fillRequests = keys * 20;

interface System {
  readonly name: string;
  readonly start: (port: number, directory: string) => readonly string[];
}

const daemon = (port: number, directory: string, disk: string): readonly string[] => [
  ...[process.execPath, join(import.meta.dirname, '../../kvcache/src/main.ts')],
  ...['--listen', `127.0.0.1:${port}`, '--status', '127.0.0.1:0', '--data-dir', directory],
  ...['--ram', '1GiB', '--disk', disk],
];
const redis: System = { name: 'redis-server', start: redisServer };
const ours: System = { name: 'kvcached', start: (port, directory) => daemon(port, directory, '0') };
const withDisk: System = {
  name: 'kvcached, disk',
  start: (port, directory) => daemon(port, directory, '4GiB'),
};
const systems = [redis, ours, withDisk];

/** Requests a second by cell, of one fresh process. */
const measure = async ({ name, start }: System): Promise<Record<string, number>> => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-kv-redis-'));
  const port = await freePort();
  const [path = '', ...args] = start(port, directory);
  const program = startProgram(path, args, {});
  try {
    await waitUntil(`${name} to serve`, 10_000, async () => (await redisCli(port, 'PING')) === 'PONG');
    const all = { port, connections: 8, requests: fillRequests, valueBytes, keys };
    await requestsPerSecond({ ...all, test: 'set' });
    await requestsPerSecond({ ...all, test: 'get' });
    if ((await redisCli(port, 'DBSIZE')) !== String(keys))
      throw new Error(`${name} has not all keys: ${program.tail()}`);
    await delayMs(restMs);
    const figures: Record<string, number> = {};
    for (const cell of cells)
      figures[cell.name] = await requestsPerSecond({ port, ...cell, valueBytes, keys });
    return figures;
  } finally {
    await program.stop();
    rmSync(directory, { recursive: true, force: true });
  }
};

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});

const report = beginReport();
const rounds: Record<string, Record<string, number>>[] = [];
for (let round = 0; round < Number(values.rounds); round += 1) {
  const figures: Record<string, Record<string, number>> = {};
  for (const system of round % 2 === 0 ? systems : systems.toReversed()) {
    figures[system.name] = await measure(system);
  }
  rounds.push(figures);
}

const rateOf = (system: System, cell: string): number =>
  median(rounds.map((round) => round[system.name]?.[cell] ?? Number.NaN));
const ratiosOf = (system: System, cell: string): number[] =>
  rounds.map(
    (round) => (round[system.name]?.[cell] ?? Number.NaN) / (round[redis.name]?.[cell] ?? Number.NaN),
  );
const spreadOf = (ratios: readonly number[]): string =>
  `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})`;

process.stdout.write(
  `MiB/s, median of ${rounds.length} rounds; ratio to ${redis.name}: median (least-most)\n`,
);
const rows = cells.map(({ name }) => [
  name,
  ...systems.map((system) => rateOf(system, name)),
  ...[ours, withDisk].map((system) => spreadOf(ratiosOf(system, name))),
]);
const ratioHeads = [ours, withDisk].map(({ name }) => `${name}: ratio`);
process.stdout.write(`${table(['', ...systems.map(({ name }) => name), ...ratioHeads], rows)}\n`);

const goals = Object.fromEntries(
  cells.map(({ name, test, connections, ratioMin }): [string, Goal] => {
    const value = rounded(median(ratiosOf(ours, name)));
    const goal = `${test.toUpperCase()} of 1 MiB >= ${ratioMin} x redis-server, ${connections} connections`;
    return [`${test}${connections}`, { goal, value, met: value >= ratioMin }];
  }),
);
const figures = Object.fromEntries(
  cells.map(({ name }) => [
    name,
    {
      mibPerSecond: Object.fromEntries(systems.map((system) => [system.name, rounded(rateOf(system, name))])),
      ratio: rounded(median(ratiosOf(ours, name))),
      ratioWithDisk: rounded(median(ratiosOf(withDisk, name))),
    },
  ]),
);
report({ name: 'kv-redis', method, figures, goals, raw: rounds }, values);
