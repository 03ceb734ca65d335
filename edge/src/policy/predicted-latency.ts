/**
 * The policy `predicted-latency`, the default: milliseconds until the first token, plus what the work costs everybody
 * else. Computing a token that another replica has in its cache delays all who come later and pushes other prefixes
 * out of a full cache, so prefill time is charged more than once, and the more while the whole fleet has a queue, since
 * then every millisecond of work is waited for by many. docs/design/0005-simulator.md has the figures behind the
 * constants.
 */
import type { Candidate, Policy, Scene } from './policy.ts';

/**
 * How many times its own time a prefill is charged on top when every replica beside the prompt's holder has something
 * to prefill. Falls with the square of the share that has: while half of them are idle a second copy of a prefix costs
 * others next to nothing.
 */
const workPrice = 20;
/**
 * And this much where nobody waits: it takes joules, and the replica from whoever comes next. A second copy of a prefix
 * so has to save its siblings a quarter more time than it takes; two of them alone never make one.
 */
const workPriceAtRest = 0.25;
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
    const fleetPrice = 1 + workPriceAtRest + workPrice * busyShareOfOthers(scene) ** 2 + queuePrice;
    for (const [index, candidate] of scene.candidates.entries()) {
      const { waitMs, prefillMs, fetch, rttMs, decoding, stepMs, evictionShare } = candidate;
      const evictions = evictionPrice * evictionShare;
      const price = fleetPrice + (waitMs > 0 ? evictions : Math.min(evictions, evictionPriceAtRest));
      const interferenceMs = decoding === 0 ? 0 : interferenceTokens * stepMs;
      // Nobody else waits for what is fetched: it keeps no engine from its work.
      const fetchMs = fetch === undefined ? 0 : fetch.ms;
      costs[index] = waitMs + rttMs + fetchMs + price * prefillMs + interferenceMs;
    }
  },
};

const leastWaitMs = ({ candidates }: Scene): number => {
  let least = Number.POSITIVE_INFINITY;
  for (const { waitMs } of candidates) least = Math.min(least, waitMs);
  return Number.isFinite(least) ? least : 0;
};

/**
 * The prompt's holder left out: what waits there is no sign that room is scarce elsewhere. In a burst it is the very
 * siblings that a second copy would relieve, and counting them made the copy dearer the more it was needed: of two
 * replicas the first got all.
 */
const busyShareOfOthers = ({ candidates }: Scene): number => {
  const holder = holderOf(candidates);
  let busy = 0;
  for (const candidate of candidates) if (candidate !== holder && candidate.waitMs > 0) busy += 1;
  return busy / Math.max(1, candidates.length - (holder === undefined ? 0 : 1));
};

/** Who has most of the prompt cached, of several the one with the shortest wait. */
const holderOf = (candidates: readonly Candidate[]): Candidate | undefined => {
  let holder: Candidate | undefined;
  for (const candidate of candidates) {
    const more = candidate.cachedTokens - (holder?.cachedTokens ?? 0);
    if (more > 0 || (more === 0 && holder !== undefined && candidate.waitMs < holder.waitMs))
      holder = candidate;
  }
  return holder;
};
