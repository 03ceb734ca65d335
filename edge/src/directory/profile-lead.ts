/**
 * Which of the prompt profiles that a model's replicas offer is the one its prompts are digested by. Nodes vote, each
 * once for a profile, with a ready replica: so one odd node makes no others blind. The leader stays until another has
 * had more votes all the time for a while, or until nobody offers it: a switch makes every cache unknown for a moment.
 * Pure: time comes in with each call. Knows no caches.
 */
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';

/** Another profile has to be ahead for this long: an update of a fleet, node by node, is one switch. */
export const profileAheadMsMin = 30_000;
/** Who contests is counted again after this, while requests come. */
const countedMsMin = 1_000;

export interface ProfileOffer {
  readonly profile: PromptProfile;
  /** The node; undefined while the replica is not ready, which has no vote. */
  readonly voter: string | undefined;
}

interface Tally {
  readonly profile: PromptProfile;
  readonly voters: Set<string>;
}

export class ProfileLead {
  #leader: PromptProfile | undefined;
  #ahead: { readonly id: string; readonly sinceMs: number } | undefined;
  #isContested = false;
  #countedAtMs = 0;

  get leader(): PromptProfile | undefined {
    return this.#leader;
  }

  /** Several profiles are offered, and it is time to count again. */
  isDue(nowMs: number): boolean {
    return this.#isContested && Math.abs(nowMs - this.#countedAtMs) >= countedMsMin;
  }

  /** Counts the votes. True when another profile leads from now on, or none. */
  count(offers: Iterable<ProfileOffer>, nowMs: number): boolean {
    const tallies = new Map<string, Tally>();
    for (const { profile, voter } of offers) {
      const tally = tallies.get(profile.id) ?? { profile, voters: new Set() };
      tallies.set(profile.id, tally);
      if (voter !== undefined) tally.voters.add(voter);
    }
    this.#isContested = tallies.size > 1;
    this.#countedAtMs = nowMs;
    const next = this.#next(tallies, nowMs);
    if (next?.id === this.#leader?.id) return false;
    this.#leader = next;
    this.#ahead = undefined;
    return true;
  }

  #next(tallies: ReadonlyMap<string, Tally>, nowMs: number): PromptProfile | undefined {
    let best: Tally | undefined;
    for (const tally of tallies.values()) {
      if (best === undefined || tally.voters.size > best.voters.size) best = tally;
    }
    const leading = tallies.get(this.#leader?.id ?? '');
    if (best === undefined || leading === undefined) return best?.profile;
    if (best.voters.size <= leading.voters.size) {
      this.#ahead = undefined;
      return leading.profile;
    }
    const isSame = this.#ahead?.id === best.profile.id && this.#ahead.sinceMs <= nowMs;
    const sinceMs = isSame ? (this.#ahead?.sinceMs ?? nowMs) : nowMs;
    this.#ahead = { id: best.profile.id, sinceMs };
    return nowMs - sinceMs >= profileAheadMsMin ? best.profile : leading.profile;
  }
}
