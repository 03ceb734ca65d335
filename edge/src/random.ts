/** The one place that draws random numbers: uniform ones for ties, and unguessable bytes for ids and tokens. */

/** Uniform in [0, 1); for ties, never for secrets. */
export const systemRandom = (): number => Math.random();

/** Unguessable bytes. */
export const randomBytes = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));
