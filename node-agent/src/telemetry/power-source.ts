/**
 * Where figures of GPUs and watts come from: the interface and the table. Each source tells what it reads until it is
 * stopped, and nothing while it knows nothing; one whose host has no such thing stays silent.
 */
import type { GpuReport } from '@cognitora/protocol/telemetry';
import type { Log } from '../log.ts';
import { nvidiaSmi } from './nvidia-smi.ts';

export interface PowerSourceOptions {
  readonly onGpu: (report: GpuReport) => void;
  readonly log: Log;
}

export interface PowerSource {
  readonly name: string;
  /** Returns what stops it for good. */
  readonly start: (options: PowerSourceOptions) => () => void;
}

export const powerSources: readonly PowerSource[] = [nvidiaSmi];
