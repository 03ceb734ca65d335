/**
 * Which free sequence a prompt goes to. Pure. The longest common prefix wins, because its KV is reused;
 * among equals the one that was used longest ago, because its content is the least likely to be asked for
 * again. A common prefix shorter than one KV block counts as none: every chat of a template shares its first
 * few tokens, and following those would pile all chats on one sequence.
 */

export interface Candidate {
  readonly sequence: number;
  readonly commonPrefix: number;
  /** Grows with each use; 0 for a sequence that was never used. */
  readonly lastUsed: number;
}

/** The chosen candidate's sequence, or `undefined` when none is free. */
export function choosePlace(candidates: readonly Candidate[], blockTokens: number): number | undefined {
  let best: Candidate | undefined;
  let bestPrefix = 0;
  for (const candidate of candidates) {
    const prefix = candidate.commonPrefix < blockTokens ? 0 : candidate.commonPrefix;
    if (best && (prefix < bestPrefix || (prefix === bestPrefix && candidate.lastUsed >= best.lastUsed)))
      continue;
    best = candidate;
    bestPrefix = prefix;
  }
  return best?.sequence;
}
