/**
 * The one place that reads the time. On Workers the clock stands still between I/O, so it orders events and measures
 * waits, never CPU.
 */

/** Milliseconds since 1970. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

/** Whether less than `msMax` passed since then. What lies ahead of a clock that was set back has no known age. */
export const isWithin = (msMax: number, sinceMs: number, nowMs: number): boolean =>
  nowMs >= sinceMs && nowMs - sinceMs < msMax;

/** A time as ISO 8601 writes it. */
export const isoTimeOf = (ms: number): string => new Date(ms).toISOString();

/** What is left of `ms` that began to pass then; a clock that was set back took nothing. */
export const leftOf = (ms: number, sinceMs: number): number =>
  Math.max(0, ms - Math.max(0, systemClock() - sinceMs));
