/**
 * Waiting for a condition by looking at it: never by sleeping for a guess. Each wait has a name and a bound, so that a
 * test that waits in vain says what for.
 */

const lookEveryMs = 20;

/** Resolves with the first look that is neither undefined nor false; throws with `what` after `msMax`. */
export const until = async <Seen>(
  what: string,
  look: () => Seen | undefined | false | Promise<Seen | undefined | false>,
  msMax = 10_000,
): Promise<Seen> => {
  const startedMs = performance.now();
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() - startedMs > msMax) throw new Error(`waited ${msMax} ms in vain for ${what}`);
    await pause(lookEveryMs);
  }
};

/** For a fake that is slow on purpose, and between two looks; never to give the product time. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
