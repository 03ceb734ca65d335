/** Figures of engines and GPUs as cells of tables: what nobody knows is "-", never 0. Pure. */
import type { GpuReport } from '@cognitora/protocol/telemetry';

type Cell = string | number;

const unknown = '-';

const cell = (value: number | undefined, unit = ''): Cell => {
  if (value === undefined) return unknown;
  return unit === '' ? value : `${value} ${unit}`;
};

export const percent = (share: number | undefined): Cell => cell(share && Math.round(share * 100), '%');

export const loadHeader = ['RUN', 'WAIT', 'KV'] as const;

/** Requests in an engine, whoever sent them, and how much of its KV memory is in use. */
export const loadCells = (
  load: { readonly running?: number; readonly waiting?: number } | undefined,
  kvUsage: number | undefined,
): Cell[] => [cell(load?.running), cell(load?.waiting), percent(kvUsage)];

export const gpuHeader = ['GPU', 'MEMORY', 'WATTS', 'TEMP', 'BUSY'] as const;

const gib = (mib: number | undefined): string => (mib === undefined ? unknown : (mib / 1024).toFixed(1));

export const gpuCells = ({
  gpu,
  memoryMiB,
  memoryUsedMiB,
  watts,
  celsius,
  busyPercent,
}: GpuReport): Cell[] => [
  gpu,
  memoryMiB === undefined && memoryUsedMiB === undefined
    ? unknown
    : `${gib(memoryUsedMiB)} of ${gib(memoryMiB)} GiB`,
  cell(watts, 'W'),
  cell(celsius, '°C'),
  cell(busyPercent, '%'),
];
