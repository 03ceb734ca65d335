/** How long to wait before the next dial, pure: full jitter over a delay that doubles per failure up to a maximum. */
import { redialMsMin } from '@cognitora/protocol/limits';

/** `failures` in a row so far; `random` uniform in [0, 1). */
export const redialDelayMs = (failures: number, random: number, msMax: number): number => {
  const ceiling = Math.min(msMax, redialMsMin * 2 ** Math.min(failures, 16));
  return Math.round(random * ceiling);
};
