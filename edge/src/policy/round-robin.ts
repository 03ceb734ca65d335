/** The policy `round-robin`: each in turn, by number; one that is not eligible is passed over. */
import type { Policy } from './policy.ts';

export const roundRobin: Policy = {
  name: 'round-robin',
  create: () => {
    let last = -1;
    return (scene, costs) => {
      // The next number after the last, or else the lowest.
      let next = Number.POSITIVE_INFINITY;
      let lowest = Number.POSITIVE_INFINITY;
      for (const { number } of scene.candidates) {
        if (number > last) next = Math.min(next, number);
        lowest = Math.min(lowest, number);
      }
      last = Number.isFinite(next) ? next : lowest;
      for (const [index, { number }] of scene.candidates.entries()) costs[index] = number === last ? 0 : 1;
    };
  },
};
