/**
 * NVIDIA Dynamo's rule, for comparison: prefill blocks waiting there and of this request, less its cached ones, plus
 * the blocks being decoded there; the lowest sum wins. Temperature 0, credits and scales at their defaults.
 */
import type { Policy } from '../../../edge/src/policy/policy.ts';

const blockTokens = 64;

export const kvCost: Policy = {
  name: 'kv-cost',
  followsCaches: true,
  create: () => (scene, costs) => {
    for (const [index, candidate] of scene.candidates.entries()) {
      const { waitingTokens, cachedTokens, decodingTokens } = candidate;
      const prefill = Math.max(0, waitingTokens + scene.promptTokens - cachedTokens);
      costs[index] = (prefill + decodingTokens + scene.promptTokens) / blockTokens;
    }
  },
};
