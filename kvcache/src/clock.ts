/** The one place of this room that reads the time. */

/** Milliseconds since 1970: what a value's end is told in, to clients and to the disk. */
export const wallMs = (): number => Date.now();

/** Milliseconds that only ever grow: what durations are told in. */
export const monotonicMs = (): number => performance.now();
