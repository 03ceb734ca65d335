/**
 * The one place that reads the time. On Workers the clock stands still between I/O, so it orders events and measures
 * waits, never CPU.
 */

/** Milliseconds since 1970. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();
