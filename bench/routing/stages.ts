/**
 * What of a routing decision is timed: one entry per stage, each a function over a prepared prompt. A new stage (the
 * digest, the whole decision) is one more entry here and nothing else.
 */
import type { Cell, Prompt } from './cell.ts';

export interface Stage {
  readonly name: string;
  /** Whatever may be done once per cell; returns what is timed once per prompt. */
  prepare(cell: Cell): (prompt: Prompt) => void;
}

/** All replicas of the cell are eligible. */
const match: Stage = {
  name: 'match',
  prepare: ({ map, slots }) => {
    const lowHalf = Math.min(32, slots.length);
    const highHalf = slots.length - lowHalf;
    const maskOf = (count: number): number => (count === 32 ? -1 : 2 ** count - 1);
    const eligibleLo = maskOf(lowHalf);
    const eligibleHi = maskOf(highHalf);
    return ({ chain, blocks }) => {
      map.match({ chain, blocks, eligibleLo, eligibleHi, nowMs: 0 });
    };
  },
};

export const stages: readonly Stage[] = [match];
