/** Seeded randomness for tests, uniform in [0, 1). Only tests import it. */
import { randomWords } from './digests.ts';

/** Numbers drawn ahead, then again from the start: more than a test takes. */
const drawn = 65_536;

export const seededRandom = (seed: number): (() => number) => {
  const words = randomWords(seed, drawn);
  let next = 0;
  return () => {
    next = (next + 1) % drawn;
    return (words[next] ?? 0) / 2 ** 32;
  };
};
