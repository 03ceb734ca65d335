/**
 * `npm run bench:lossy-streams`: live streams over a link that is far away and loses packets. Is anything lost, what do
 * a client that does not read and a large upload do to the others, and how much goes through one link and four?
 *
 *   node bench/lossy-streams/main.ts [--quick] [--json] [--save]
 *
 * `--quick` shows in half a minute that all of it runs.
 */
import '../machine/exit-on-signal.ts';
import { messageOf } from '@cognitora/protocol/errors';
import { eventBytes } from '../load/event-script.ts';
import type { LoadPlan, LoadResult } from '../load/generator-messages.ts';
import { wideArea } from '../lossy-link/link.ts';
import { readRunOptions } from '../report/options.ts';
import { beginReport, below } from '../report/result.ts';
import { rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { controlOfMachine, type LossyFleet, startLossyFleet } from './fleet.ts';

const MiB = 2 ** 20;
const method =
  'Edge, load generator and troublesome clients in one network namespace, agents and engines in ' +
  'another, a relay of our own between two TUN devices that delays and loses each packet by itself (1 ' +
  'Gbit/s, 4 MiB of queue, both ways alike). 200 streams at 2 chunks/s of 250 B, every byte checked; ' +
  'the gaps are between two chunks of a stream. Beside them: a client that reads a byte a second of a ' +
  'stream of 40 MB; uploads of 8 MiB one after the other. Throughput: 16 streams of 100 KB at once from ' +
  'an engine that says all in one write; four sockets are four agents side by side on the far host, ' +
  'since an agent has one link. By the machine’s TCP and by Reno. Bodies are compared by SHA-256 at the ' +
  'engine.';

const values = readRunOptions('npm run bench:lossy-streams --', method, {
  quick: { kind: 'switch', about: 'fewer streams, shorter: to see that it works' },
  json: { kind: 'switch', about: 'the result as JSON' },
  save: { kind: 'switch', about: 'keep it under bench/results' },
});
const streams = values.quick ? 50 : 200;
const steadySeconds = values.quick ? 4 : 30;
const chunkMs = 500;
const homeLine = { rttMs: 80, lossShare: 0.005 };
const farLine = { rttMs: 200, lossShare: 0.01 };
const slowEvents = values.quick ? 20_000 : 160_000;
const promptBytes100k = 400_000;
const gapRatioMax = 2;
/** Beside the machine's own: what every kernel has, and loss slows down most. */
const lossBased = 'reno';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const load = ({ generator, target }: LossyFleet, plan: Partial<LoadPlan>): Promise<LoadResult> => {
  const { host, port, apiKey } = target;
  const headers = { authorization: `Bearer ${apiKey}` };
  return generator.ask({
    target: { host, port, path: '/v1/chat/completions', headers },
    ...{ models: ['bench'], connections: streams, requests: 1 },
    ...{ events: (steadySeconds * 1e3) / chunkMs, intervalMs: chunkMs, spreadMs: 2_000 },
    ...plan,
  });
};

/** The steady streams while `beside` goes on, which is told when they are over. */
const steady = async (
  fleet: LossyFleet,
  name: string,
  beside?: (isOver: () => boolean) => Promise<object>,
) => {
  let isOver = false;
  const extra = beside?.(() => isOver);
  const result = await load(fleet, {}).finally(() => {
    isOver = true;
  });
  const [gapMs, delayMs] = [summarize(result.gapMs), summarize(result.chunkDelayMs)];
  say(`${name}: ${result.eventsReceived} chunks, gap p99 ${Math.round(gapMs.p99)} ms`);
  for (const failure of result.failures) say(`  ${failure}`);
  const { eventsReceived: chunks, failures } = result;
  return { name, chunks, failures, gapMs, delayMs, beside: await extra };
};

const uploads = async ({ guests, target }: LossyFleet, isOver: () => boolean) => {
  const ms: number[] = [];
  const wrong: string[] = [];
  do {
    const answer = await guests.ask({ kind: 'bodies', target, bytes: 8 * MiB, count: 1, atOnce: 1 });
    ms.push(...answer.ms.map(rounded));
    wrong.push(...answer.wrong);
  } while (!isOver());
  return { ms, wrong };
};

/** Leaves when the others have ended. */
const slowReader = async ({ guests, target }: LossyFleet, isOver: () => boolean) => {
  await guests.ask({ kind: 'read slowly', target, events: slowEvents });
  while (!isOver()) await new Promise((resolve) => setTimeout(resolve, 100));
  return { readBytes: (await guests.ask({ kind: 'leave' })).readBytes };
};

const throughput = async (fleet: LossyFleet, sockets: number) => {
  const [connections, events] = values.quick ? [8, 100] : [16, 400];
  const plan = { connections, events, requests: 2, intervalMs: 0, spreadMs: 0 };
  const { eventsReceived, elapsedMs, failures } = await load(fleet, plan);
  const kilobytesPerSecond = rounded((eventsReceived * eventBytes) / elapsedMs);
  say(`${sockets} sockets: ${kilobytesPerSecond} KB/s of answers, ${failures.length} failures`);
  return {
    sockets,
    kilobytesPerSecond,
    chunksPerSecond: Math.round((eventsReceived * 1e3) / elapsedMs),
    failures,
  };
};

const bodies = async ({ guests, target }: LossyFleet, bytes: number, count: number, atOnce: number) => {
  const { ms, wrong } = await guests.ask({ kind: 'bodies', target, bytes, count, atOnce });
  say(`${count} bodies of ${bytes} bytes: ${ms.map(Math.round).join(', ')} ms ${wrong.join('; ')}`);
  return { bytes, count, atOnce, ms: ms.map(rounded), wrong };
};

const measureOn = async (fleet: LossyFleet) => {
  const alone = await steady(fleet, 'alone');
  const besideSlow = await steady(fleet, 'beside a client that reads a byte a second', (isOver) =>
    slowReader(fleet, isOver),
  );
  const besideUpload = await steady(fleet, 'beside uploads of 8 MiB', (isOver) => uploads(fleet, isOver));
  const prompts = [
    await bodies(fleet, promptBytes100k, values.quick ? 2 : 8, values.quick ? 1 : 4),
    await bodies(fleet, values.quick ? 2 * MiB : 32 * MiB, 1, 1),
  ];
  await fleet.link.change(wideArea(farLine));
  const one = await throughput(fleet, 1);
  for (let agents = 1; agents < 4; agents += 1) await fleet.addAgent();
  const four = await throughput(fleet, 4);
  const unwantedDrops = fleet.link.ends.map((end) => end.unwantedDrops());
  return {
    steady: [alone, besideSlow, besideUpload] as const,
    ...{ prompts, throughput: [one, four], unwantedDrops },
  };
};

/** On a link of its own, that nobody else's packets are on. */
const measure = async (control: string) => {
  say(`TCP ${control}`);
  const fleet = await startLossyFleet({ ...homeLine, control });
  try {
    return { control, ...(await measureOn(fleet)) };
  } finally {
    await fleet.stop();
  }
};
type Steady = Awaited<ReturnType<typeof steady>>;
type Measured = Awaited<ReturnType<typeof measure>>;

const ratioOf = (run: Steady, alone: Steady): number => run.gapMs.p99 / alone.gapMs.p99;

const goalsOf = (all: readonly Measured[]) => {
  const failures = all.flatMap(({ steady: runs, throughput: both }) =>
    [...runs, ...both].flatMap((run) => run.failures),
  );
  const wrong = all.flatMap(({ steady: [, , upload], prompts }) =>
    [...prompts, upload.beside as { wrong: string[] }].flatMap((one) => one.wrong),
  );
  const worst = (at: 1 | 2): number => Math.max(...all.map(({ steady: runs }) => ratioOf(runs[at], runs[0])));
  return {
    nothingLost: {
      goal: 'every byte of every stream and of every body arrived once and in order',
      value: [...failures, ...wrong][0] ?? 'all right',
      met: failures.length + wrong.length === 0,
    },
    slowReader: below('a client that reads 1 B/s at most doubles the p99 gap', worst(1), gapRatioMax, true),
    upload: below('uploads of 8 MiB at most double the p99 gap', worst(2), gapRatioMax, true),
  };
};

const tell = (all: readonly Measured[]): string => {
  const gaps = all.flatMap(({ control, steady: runs }) =>
    runs.map(({ name, chunks, gapMs, delayMs, failures }) => [
      `${control}: ${name}`,
      ...[chunks, failures.length, gapMs.p50, gapMs.p99, gapMs.max, delayMs.p50, delayMs.p99],
    ]),
  );
  const columns = ['gap p50 ms', 'p99', 'max', 'delay p50 ms', 'p99'];
  const title = `${streams} streams, ${homeLine.rttMs} ms, ${100 * homeLine.lossShare} % lost`;
  const sent = all.flatMap(({ control, prompts }) =>
    prompts.map(({ bytes, count, atOnce, ms, wrong }) => [
      `${control}: ${count} of ${rounded(bytes / MiB)} MiB, ${atOnce} at once`,
      ...[Math.min(...ms), Math.max(...ms), wrong.length],
    ]),
  );
  const far = all.flatMap(({ control, throughput: both }) =>
    both.map(({ sockets, kilobytesPerSecond, chunksPerSecond }) => [
      `${control}: ${sockets} ${sockets === 1 ? 'socket' : 'sockets (agents)'}`,
      ...[kilobytesPerSecond, chunksPerSecond],
    ]),
  );
  return [
    table([title, 'chunks', 'wrong', ...columns], gaps),
    table(['prompts over that link', 'ms min', 'max', 'wrong'], sent),
    table([`answers at ${farLine.rttMs} ms, ${100 * farLine.lossShare} % lost`, 'KB/s', 'chunks/s'], far),
  ].join('\n\n');
};

const main = async (): Promise<void> => {
  const report = beginReport();
  const runs: Measured[] = [];
  const machines = await controlOfMachine().catch((thrown: unknown) => messageOf(thrown).split('\n', 1));
  if (typeof machines !== 'string') {
    process.stderr.write(`The system allows no such link (${machines[0]}): run this as root.\n`);
    process.exitCode = 1;
    return;
  }
  for (const control of new Set([machines, lossBased])) runs.push(await measure(control));
  say(`\n${tell(runs)}`);
  const figures = { streams, homeLine, farLine, runs };
  const goals = goalsOf(runs);
  report({ name: 'lossy-streams', method, figures, goals, raw: {} }, values);
  if (Object.values(goals).some(({ met }) => met === false)) process.exitCode = 1;
};

await main();
