/**
 * Whether memory is bounded and flat, from samples of resident memory once a second. Pure.
 *
 * The bound: workerd idles at about 50 MiB; a link costs two sockets' buffers, a decoder and an outbox, a stream at most
 * its 64 KiB window when its client stalls (here none does). 1,000 of each stay below `residentBytesMax` with room for
 * the garbage collector. Flat: the line through the last minute rises by less than `growthBytesPerMinuteMax`. At
 * 4,000 chunks a second a leak of 32 bytes per chunk would be twice that; a garbage collector's sawtooth is not seen
 * by a line through a minute of it.
 */
import { slope } from '../report/statistics.ts';

const MiB = 1024 * 1024;

export const residentBytesMax = 384 * MiB;
export const growthBytesPerMinuteMax = 4 * MiB;
const lastSeconds = 60;

export interface MemorySample {
  readonly atSeconds: number;
  readonly bytes: number;
}

export interface MemoryVerdict {
  readonly peakBytes: number;
  /** Undefined for a run too short to tell: a start-up is never flat. */
  readonly growthBytesPerMinute: number | undefined;
  readonly isBounded: boolean;
  readonly isFlat: boolean | undefined;
}

export const judgeMemory = (samples: readonly MemorySample[]): MemoryVerdict => {
  const peakBytes = Math.max(...samples.map(({ bytes }) => bytes));
  const end = samples.at(-1)?.atSeconds ?? 0;
  const begin = samples[0]?.atSeconds ?? 0;
  const isBounded = peakBytes <= residentBytesMax;
  if (end - begin < 1.5 * lastSeconds) {
    return { peakBytes, growthBytesPerMinute: undefined, isBounded, isFlat: undefined };
  }
  const last = samples.filter(({ atSeconds }) => atSeconds > end - lastSeconds);
  const growthBytesPerMinute = slope(last.map(({ atSeconds, bytes }) => ({ x: atSeconds / 60, y: bytes })));
  return {
    peakBytes,
    growthBytesPerMinute,
    isBounded,
    isFlat: growthBytesPerMinute < growthBytesPerMinuteMax,
  };
};
