/** Digests for tests: random words that are the same for the same seed. Only tests import it. */

/** Uniform 32-bit words. */
export const randomWords = (seed: number, count: number): Uint32Array => {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return Uint32Array.from({ length: count }, next);
};
