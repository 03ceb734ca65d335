/**
 * Whether memory is bounded and flat, from samples of resident memory once a second. Pure.
 *
 * The bound is a sum of named parts, each with a quarter or more to spare over what was seen: workerd itself,
 * a link (two sockets' buffers, decoder, outbox, its share of the collector's garbage), a stream (an HTTP
 * connection, a response, its pipe). Flat: the line through the last minute that all streams run rises by less than
 * `growthBytesPerMinuteMax`; what is freed when they end would hide a leak. At 4,000 chunks a second a leak of 32
 * bytes per chunk would be nearly twice that, while a line through a minute does not see a collector's sawtooth.
 */
import { slope } from '../report/statistics.ts';

const MiB = 1024 * 1024;

/** Once its heap has grown to the collector’s liking; a fresh one idles at about 50 MiB. */
const baseBytesMax = 160 * MiB;
const linkBytesMax = 128 * 1024;
const streamBytesMax = 224 * 1024;

/** What workerd may hold with so many links and streams: 504 MiB for 1,000 of each. */
export const residentBytesMax = (links: number, streams: number): number =>
  baseBytesMax + links * linkBytesMax + streams * streamBytesMax;

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

/** `firstEndSeconds`: when the first stream ended. */
export const judgeMemory = (
  samples: readonly MemorySample[],
  bytesMax: number,
  firstEndSeconds: number,
): MemoryVerdict => {
  const peakBytes = Math.max(...samples.map(({ bytes }) => bytes));
  const whileAllRun = samples.filter(({ atSeconds }) => atSeconds < firstEndSeconds);
  const end = whileAllRun.at(-1)?.atSeconds ?? 0;
  const begin = samples[0]?.atSeconds ?? 0;
  const isBounded = peakBytes <= bytesMax;
  if (end - begin < 1.5 * lastSeconds) {
    return { peakBytes, growthBytesPerMinute: undefined, isBounded, isFlat: undefined };
  }
  const last = whileAllRun.filter(({ atSeconds }) => atSeconds > end - lastSeconds);
  const growthBytesPerMinute = slope(last.map(({ atSeconds, bytes }) => ({ x: atSeconds / 60, y: bytes })));
  return {
    peakBytes,
    growthBytesPerMinute,
    isBounded,
    isFlat: growthBytesPerMinute < growthBytesPerMinuteMax,
  };
};
