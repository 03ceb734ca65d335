/**
 * The policy `least-loaded`: the replica with the fewest live requests, ties broken at random, so that a burst spreads
 * evenly and an idle fleet has no favourite. Pure.
 */

export interface Candidate {
  /** Requests the replica serves now. */
  readonly live: number;
}

/** One of the least loaded; undefined when there are none. `random` is uniform in [0, 1). */
export const chooseLeastLoaded = <C extends Candidate>(
  candidates: readonly C[],
  random: () => number,
): C | undefined => {
  let least = Number.POSITIVE_INFINITY;
  let ties: C[] = [];
  for (const candidate of candidates) {
    if (candidate.live > least) continue;
    if (candidate.live < least) ties = [];
    least = candidate.live;
    ties.push(candidate);
  }
  return ties[Math.floor(random() * ties.length)];
};
