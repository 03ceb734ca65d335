/** The one place of this room that reads the time. */

/** Milliseconds since 1970: what a value's end is told in, to clients and to the disk. */
export const wallMs = (): number => Date.now();

/** For lengths of time. */
export const monotonicMs = (): number => performance.now();
