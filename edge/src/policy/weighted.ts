/**
 * The policy `weighted`: the seed's rule. Shares between 0 and 1, weighed .55 cached prefix, .25 idleness, .10 low
 * power, .10 capacity; what nobody measures counts one half.
 */
import type { Policy } from './policy.ts';

const prefixWeight = 0.55;
const loadWeight = 0.25;
const powerWeight = 0.1;
const capacityWeight = 0.1;

export const weighted: Policy = {
  name: 'weighted',
  followsCaches: true,
  create: () => (scene, costs) => {
    let busiest = 1;
    let longest = 1;
    for (const { live, waitingTokens } of scene.candidates) {
      busiest = Math.max(busiest, live);
      longest = Math.max(longest, waitingTokens);
    }
    for (const [index, candidate] of scene.candidates.entries()) {
      const { live, cachedTokens, waitingTokens, powerShare = 0.5 } = candidate;
      costs[index] = -(
        prefixWeight * (cachedTokens / scene.promptTokens) +
        loadWeight * (1 - live / busiest) +
        powerWeight * (1 - powerShare) +
        capacityWeight * (1 - waitingTokens / longest)
      );
    }
  },
};
