/**
 * `npm run bench:gpu-readings`: what the agent reads of this host's NVIDIA GPUs against NVML's own words in the same
 * second, told through the other door of the driver: `nvidia-smi --query --xml-format`, a process for each reading.
 *
 *   node bench/gpu-readings/main.ts [--seconds 20] [--json] [--save]
 *
 * Put the GPU to work beside it; readings of an idle one prove little.
 */
import '../machine/exit-on-signal.ts';
import { execFile } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';
import { nvidiaSmi } from '@cognitora/node-agent/telemetry/nvidia-smi';
import type { GpuReport } from '@cognitora/protocol/telemetry';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { beginReport, below } from '../report/result.ts';
import { median, rounded, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';

const method =
  "The agent's own source of GPUs runs as in production, one nvidia-smi that tells a line a second. At " +
  'each line of a GPU a second program reads the same GPU through NVML once (`nvidia-smi --query ' +
  '--xml-format --id`): memory used, average power, temperature, utilization. Differences are absolute, ' +
  'watts also as a share of the second reading; the two readings lie some 10 to 100 ms apart, so a GPU ' +
  'whose work starts or ends between them differs for one line.';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});

interface Reading {
  readonly memoryUsedMiB: number;
  readonly watts: number;
  readonly celsius: number;
  readonly busyPercent: number;
}

/** The first number in an element, or in the element inside another. */
const numberOf = (xml: string, ...path: readonly string[]): number => {
  let inside = xml;
  for (const name of path) inside = new RegExp(`<${name}>([\\s\\S]*?)</${name}>`).exec(inside)?.[1] ?? '';
  return Number.parseFloat(inside);
};

const secondReading = async (gpu: number): Promise<Reading> => {
  const argv = ['--query', '--xml-format', `--id=${gpu}`];
  const { stdout } = await promisify(execFile)('nvidia-smi', argv, { maxBuffer: 2 ** 24 });
  const averaged = numberOf(stdout, 'gpu_power_readings', 'average_power_draw');
  return {
    memoryUsedMiB: numberOf(stdout, 'fb_memory_usage', 'used'),
    watts: Number.isNaN(averaged) ? numberOf(stdout, 'gpu_power_readings', 'power_draw') : averaged,
    celsius: numberOf(stdout, 'temperature', 'gpu_temp'),
    busyPercent: numberOf(stdout, 'utilization', 'gpu_util'),
  };
};

const report = beginReport();
const pairs: { readonly told: GpuReport; readonly read: Reading; readonly apartMs: number }[] = [];
const reading = new Set<Promise<void>>();
const stop = nvidiaSmi.start({
  onGpu: (told) => {
    const atUs = monotonicUs();
    const one = secondReading(told.gpu).then((read) => {
      pairs.push({ told, read, apartMs: (monotonicUs() - atUs) / 1_000 });
    });
    reading.add(one);
    void one.finally(() => reading.delete(one));
  },
  log: (_, event, fields) => process.stderr.write(`${event} ${JSON.stringify(fields ?? {})}\n`),
});
await delayMs(Number(values.seconds) * 1_000);
stop();
await Promise.all(reading);
if (pairs.length === 0) {
  process.stderr.write('no GPU was read: this bench needs a host with an NVIDIA GPU and nvidia-smi\n');
  process.exit(1);
}

const figuresOf = (name: keyof Reading) =>
  pairs.map(({ told, read }) => [told[name] ?? Number.NaN, read[name]] as const);
const differences = (name: keyof Reading): readonly number[] =>
  figuresOf(name).map(([told, read]) => Math.abs(told - read));
const wattShares = figuresOf('watts').map(([told, read]) => Math.abs(told - read) / read);
const names = ['memoryUsedMiB', 'watts', 'celsius', 'busyPercent'] as const;
const rows = pairs.map(({ told, read, apartMs }, line) => [
  ...[`${line}`, told.gpu, rounded(apartMs)],
  ...names.flatMap((name) => [told[name], read[name]]),
]);
process.stdout.write(
  `${table(['line', 'gpu', 'ms apart', ...names.flatMap((name) => [name, '(second)'])], rows)}\n`,
);

const figures = {
  readings: pairs.length,
  apartMs: summarize(pairs.map(({ apartMs }) => apartMs)),
  ...Object.fromEntries(names.map((name) => [name, summarize(differences(name))])),
  wattShare: summarize(wattShares),
};
report(
  {
    name: 'gpu-readings',
    method,
    figures,
    goals: {
      watts: below('median difference of watts < 3 % of the reading', median(wattShares), 0.03),
      memory: below('median difference of memory <= 1 MiB', median(differences('memoryUsedMiB')), 1, true),
      celsius: below('median difference of temperature <= 1 K', median(differences('celsius')), 1, true),
    },
    raw: pairs,
  },
  values,
);
