/**
 * The policy `predicted-latency`, the default: milliseconds until the first token, plus what the work costs everybody
 * else. Computing a token that another replica has in its cache delays all who come later and pushes other prefixes
 * out of a full cache, so prefill time is charged more than once, and the more while the whole fleet has a queue, since
 * then every millisecond of work is waited for by many. docs/design/0005-simulator.md has the figures behind the
 * constants.
 */
import type { Policy, Scene } from './policy.ts';

/**
 * How many times its own time a prefill is charged on top when every replica has something to prefill. Falls with the
 * square of the share that has: while half the fleet is idle a second copy of a prefix costs others next to nothing.
 */
const workPrice = 20;
/**
 * And on top of that when each block that the replica stores evicts another, which somebody will compute anew. A
 * replica with room costs nothing of this: so new prefixes spread over the fleet instead of driving each other out of
 * one cache.
 */
const evictionPrice = 12;
/**
 * At most so much of it for a replica with nothing to prefill: a burst whose prefix it would compute a second time need
 * not queue elsewhere for the sake of what was evicted there some time.
 */
const evictionPriceAtRest = 1;
/** And so much more per ms that even the least busy replica has waiting. */
const workPricePerWaitMs = 0.002;
/** A decode step that this request makes slower is felt by every token of those who decode: so many ms of one step. */
const interferenceTokens = 4;

export const predictedLatency: Policy = {
  name: 'predicted-latency',
  followsCaches: true,
  create: () => (scene, costs) => {
    const queuePrice = workPricePerWaitMs * leastWaitMs(scene);
    const fleetPrice = 1 + workPrice * busyShare(scene) ** 2 + queuePrice;
    for (const [index, candidate] of scene.candidates.entries()) {
      const { waitMs, prefillMs, rttMs, decoding, stepMs, evictionShare } = candidate;
      const evictions = evictionPrice * evictionShare;
      const price = fleetPrice + (waitMs > 0 ? evictions : Math.min(evictions, evictionPriceAtRest));
      const interferenceMs = decoding === 0 ? 0 : interferenceTokens * stepMs;
      costs[index] = waitMs + rttMs + price * prefillMs + interferenceMs;
    }
  },
};

const leastWaitMs = ({ candidates }: Scene): number => {
  let least = Number.POSITIVE_INFINITY;
  for (const { waitMs } of candidates) least = Math.min(least, waitMs);
  return Number.isFinite(least) ? least : 0;
};

const busyShare = ({ candidates }: Scene): number => {
  let busy = 0;
  for (const { waitMs } of candidates) if (waitMs > 0) busy += 1;
  return busy / Math.max(1, candidates.length);
};
