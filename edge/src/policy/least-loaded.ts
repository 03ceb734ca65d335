/** The policy `least-loaded`: the fewest live requests, so that a burst spreads evenly. */
import type { Policy } from './policy.ts';

export const leastLoaded: Policy = {
  name: 'least-loaded',
  create: () => (scene, costs) => {
    for (const [index, { live }] of scene.candidates.entries()) costs[index] = live;
  },
};
