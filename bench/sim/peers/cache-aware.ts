/**
 * SGLang's rule `cache_aware`, for comparison: with loads apart by more than both thresholds the shortest queue, else
 * the longest cached prefix if it is long enough, else the least load. Constants: the gateway's defaults
 * (router_args.py).
 */
import type { Policy } from '../../../edge/src/policy/policy.ts';

const cacheThreshold = 0.3;
const balanceAbsolute = 64;
const balanceRelative = 1.5;

export const cacheAware: Policy = {
  name: 'cache-aware',
  followsCaches: true,
  create: () => (scene, costs) => {
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    let longest = 0;
    for (const { live, cachedTokens } of scene.candidates) {
      most = Math.max(most, live);
      least = Math.min(least, live);
      longest = Math.max(longest, cachedTokens);
    }
    const isImbalanced = most - least > balanceAbsolute && most > balanceRelative * least;
    const isCached = longest / scene.promptTokens > cacheThreshold;
    for (const [index, { live, cachedTokens }] of scene.candidates.entries()) {
      costs[index] = !isImbalanced && isCached ? -cachedTokens : live;
    }
  },
};
