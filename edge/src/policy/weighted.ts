/**
 * The policy `weighted`: the seed's rule. Shares between 0 and 1, weighed .55 cached prefix, .25 idleness, .10 low
 * power, .10 capacity; power counts one half for all unless it is known of each. What had better be fetched from
 * another host counts as cached by the share of its prefill's time that this spares.
 */
import type { Policy } from './policy.ts';

const prefixWeight = 0.55;
const loadWeight = 0.25;
const powerWeight = 0.1;
const capacityWeight = 0.1;
const unknownPowerShare = 0.5;

export const weighted: Policy = {
  name: 'weighted',
  followsCaches: true,
  create: () => (scene, costs) => {
    let busiest = 1;
    let longest = 1;
    let hungriest = 1;
    let isPowerKnown = true;
    for (const { live, waitingTokens, watts } of scene.candidates) {
      busiest = Math.max(busiest, live);
      longest = Math.max(longest, waitingTokens);
      hungriest = Math.max(hungriest, watts ?? 0);
      isPowerKnown &&= watts !== undefined;
    }
    for (const [index, candidate] of scene.candidates.entries()) {
      const { live, cachedTokens, fetch, waitingTokens, watts } = candidate;
      const prefixTokens = cachedTokens + (fetch === undefined ? 0 : fetch.tokens * fetch.gain);
      const powerShare = isPowerKnown && watts !== undefined ? watts / hungriest : unknownPowerShare;
      costs[index] = -(
        prefixWeight * (prefixTokens / scene.promptTokens) +
        loadWeight * (1 - live / busiest) +
        powerWeight * (1 - powerShare) +
        capacityWeight * (1 - waitingTokens / longest)
      );
    }
  },
};
