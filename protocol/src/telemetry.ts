/**
 * TELEMETRY: what an agent measures of its host, its engines and its GPUs, and the one parser of it. What is not known
 * is absent, never zero. Owns no ages: whoever hears it knows when.
 */
import type { ReplicaName } from './ids.ts';
import { gpusPerNodeMax, nameCharsMax, replicasPerNodeMax } from './limits.ts';
import { FieldReader, parseJsonRecord } from './shape.ts';

/** One replica's engine, as a whole: an entry replaces all that was told of that replica before. */
export interface LoadReport {
  readonly name: ReplicaName;
  /** Requests in the engine, whoever sent them. */
  readonly running?: number;
  readonly waiting?: number;
  /** Of these, the ones that did not come over this link. */
  readonly othersRunning?: number;
  readonly othersWaiting?: number;
  /** Of its KV memory, in thousandths. */
  readonly kvPermille?: number;
  /** On which it runs; several replicas may name the same. */
  readonly gpus?: readonly number[];
}

/** One GPU, once, however many replicas share it: replaces what was told of it before. */
export interface GpuReport {
  /** As the driver numbers them on this host. */
  readonly gpu: number;
  /** The driver's own name for it, the same after each boot. */
  readonly id?: string;
  readonly memoryMiB?: number;
  readonly memoryUsedMiB?: number;
  readonly watts?: number;
  readonly celsius?: number;
  /** Of the time, that something ran on it. */
  readonly busyPercent?: number;
}

/** Sent when something changed; who is not named is as before. */
export interface Telemetry {
  /** From a ping of the agent to its pong. */
  readonly rttMs: number;
  readonly replicas?: readonly LoadReport[];
  readonly gpus?: readonly GpuReport[];
}

/** A minute: whatever takes longer has lost its lease. */
export const rttMsMax = 60_000;
/** More than any engine takes in. */
export const engineRequestsMax = 1_000_000;
/** 16 TiB. */
export const gpuMemoryMiBMax = 16 * 1024 * 1024;
/** A rack. */
export const gpuWattsMax = 100_000;
export const gpuCelsiusMax = 1_000;

/** The fields of `names` that are there, each a whole number up to its bound. */
const optionalIntegers = <Name extends string>(
  reader: FieldReader,
  bounds: Readonly<Record<Name, number>>,
): Partial<Record<Name, number>> => {
  const found: Partial<Record<Name, number>> = {};
  for (const [name, max] of Object.entries(bounds) as [Name, number][]) {
    const value = reader.optionalInteger(name, 0, max);
    if (value !== undefined) found[name] = value;
  }
  return found;
};

const readLoad = (reader: FieldReader): LoadReport => ({
  name: reader.string('name', nameCharsMax) as ReplicaName,
  ...optionalIntegers(reader, {
    running: engineRequestsMax,
    waiting: engineRequestsMax,
    othersRunning: engineRequestsMax,
    othersWaiting: engineRequestsMax,
    kvPermille: 1_000,
  }),
  ...(reader.has('gpus') ? { gpus: reader.integers('gpus', gpusPerNodeMax, 0, gpusPerNodeMax - 1) } : {}),
});

const readGpu = (reader: FieldReader): GpuReport => {
  const id = reader.optionalString('id', nameCharsMax);
  return {
    gpu: reader.integer('gpu', 0, gpusPerNodeMax - 1),
    ...(id === undefined ? {} : { id }),
    ...optionalIntegers(reader, {
      memoryMiB: gpuMemoryMiBMax,
      memoryUsedMiB: gpuMemoryMiBMax,
      watts: gpuWattsMax,
      celsius: gpuCelsiusMax,
      busyPercent: 100,
    }),
  };
};

export const parseTelemetry = (payload: Uint8Array): Telemetry => {
  const what = 'TELEMETRY';
  const reader = new FieldReader(parseJsonRecord(payload, 'protocol_error', what), 'protocol_error', what);
  return {
    rttMs: reader.integer('rttMs', 0, rttMsMax),
    ...(reader.has('replicas') ? { replicas: reader.records('replicas', replicasPerNodeMax, readLoad) } : {}),
    ...(reader.has('gpus') ? { gpus: reader.records('gpus', gpusPerNodeMax, readGpu) } : {}),
  };
};
