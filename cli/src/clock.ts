/** The one place of this room that reads the time. */

/** Milliseconds since 1970. */
export const wallMs = (): number => Date.now();

/** Milliseconds that never go back; only differences mean anything. */
export const monotonicMs = (): number => performance.now();
