/** A second policy that decides beside the first, for comparison: only where it differs is counted. Pure. */
import { type Candidate, chooseLowest, type Policy, type Score } from '../policy/policy.ts';

export interface ShadowCounts {
  readonly decisions: number;
  readonly differences: number;
}

export interface ShadowView extends ShadowCounts {
  readonly name: string;
}

/** What both decide by. */
interface Scene {
  readonly candidates: readonly Readonly<Candidate>[];
  readonly promptTokens: number;
  readonly random: () => number;
}

export class Shadow {
  readonly #name: string;
  readonly #score: Score;
  #decisions = 0;
  #differences = 0;

  constructor(policy: Policy) {
    this.#name = policy.name;
    this.#score = policy.create();
  }

  get view(): ShadowView {
    return { name: this.#name, decisions: this.#decisions, differences: this.#differences };
  }

  /** The first policy chose; `costs` is for this one to write into. */
  look(scene: Scene, chosen: Readonly<Candidate>, costs: Float64Array): void {
    const { candidates, random } = scene;
    this.#score(scene, costs);
    const other = chooseLowest(costs, candidates.length, random);
    this.#decisions += 1;
    // A tie is no difference of opinion.
    const chosenCost = costs[candidates.indexOf(chosen)] ?? 0;
    if (other !== undefined && chosenCost > (costs[other] ?? 0)) this.#differences += 1;
  }
}
