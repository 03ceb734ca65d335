/**
 * `npm run bench:gpu-readings`: what the agent reads of this host's NVIDIA GPUs against NVML itself at the same moment.
 *
 *   node bench/gpu-readings/main.ts [--seconds 20] [--json] [--save]
 *
 * Put the GPU to work beside it; readings of an idle one prove little.
 */
import '../machine/exit-on-signal.ts';
import { parseArgs } from 'node:util';
import { nvidiaSmi } from '@cognitora/node-agent/telemetry/nvidia-smi';
import type { GpuReport } from '@cognitora/protocol/telemetry';
import { delayMs } from '../machine/clock.ts';
import { beginReport, below } from '../report/result.ts';
import { median, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { type NvmlReading, openNvml } from './nvml.ts';

const method =
  "The agent's own source of GPUs runs as in production, one nvidia-smi that tells a line a second. At " +
  'each line of a GPU its memory in use, power, temperature and utilization are read through the C ' +
  "library of NVML in the bench's own process, the moment the line is there. Differences are absolute, " +
  'watts also as a share of what NVML says; memory is that of nvmlDeviceGetMemoryInfo_v2.';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});

const report = beginReport();
const readNvml = openNvml();
const pairs: { readonly told: GpuReport; readonly read: NvmlReading }[] = [];
const stop = nvidiaSmi.start({
  onGpu: (told) => pairs.push({ told, read: readNvml(told.gpu) }),
  log: (_, event, fields) => process.stderr.write(`${event} ${JSON.stringify(fields ?? {})}\n`),
});
await delayMs(Number(values.seconds) * 1_000);
stop();
if (pairs.length === 0) {
  process.stderr.write('no GPU was read: this bench needs a host with an NVIDIA GPU and nvidia-smi\n');
  process.exit(1);
}

const figuresOf = (name: keyof NvmlReading) =>
  pairs.map(({ told, read }) => [told[name] ?? Number.NaN, read[name]] as const);
const differences = (name: keyof NvmlReading): readonly number[] =>
  figuresOf(name).map(([told, read]) => Math.abs(told - read));
const wattShares = figuresOf('watts').map(([told, read]) => Math.abs(told - read) / read);
const names = ['memoryUsedMiB', 'watts', 'celsius', 'busyPercent'] as const;
const rows = pairs.map(({ told, read }, line) => [
  ...[`${line}`, told.gpu],
  ...names.flatMap((name) => [told[name], read[name]]),
]);
process.stdout.write(`${table(['line', 'gpu', ...names.flatMap((name) => [name, '(NVML)'])], rows)}\n`);

const figures = {
  readings: pairs.length,
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
