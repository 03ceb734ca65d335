/**
 * The bench's only clock: monotonic, in microseconds, the same in every process of this machine; and today's
 * date.
 */

/** Microseconds of CLOCK_MONOTONIC: comparable between processes, which `performance.now` is not. */
export const monotonicUs = (): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e6 + nanoseconds / 1e3;
};

export const wallIso = (): string => new Date().toISOString();

export const delayMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
