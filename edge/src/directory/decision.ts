/**
 * What a directory is asked to decide and what it answers, and how the one becomes a question to a model's cells, and
 * their choice the other. Pure, owns nothing.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import { retryAfterOf } from '../admission/retry-after.ts';
import type { Candidate } from '../policy/policy.ts';
import type { CellRequest, Choice } from './cell.ts';
import { type EligibilityTerms, ineligibilityOf } from './eligibility.ts';
import type { Reservation } from './load.ts';
import type { Replica } from './node-entry.ts';
import { type CandidateView, viewCandidates, viewVerdict } from './receipts.ts';
import type { CellChoice, CellVerdict, ServedModel } from './served-model.ts';

/** What routing knows of a prompt. */
export interface PromptView {
  /** The profile by which it was digested; a chain of another profile than the model's means nothing. */
  readonly profile: string;
  /** Digests from its start, as pairs of low and high word; empty when there are none. */
  readonly chain: Uint32Array;
  /** Of the prompt's canonical form. */
  readonly bytes: number;
  /** Bytes that one digest stands for. */
  readonly blockBytes: number;
}

/** A prompt that nobody digested. */
export const unreadPrompt: PromptView = { profile: '', chain: new Uint32Array(), bytes: 0, blockBytes: 256 };

export interface Decision {
  readonly reservation: Reservation;
  readonly node: NodeId;
  readonly epoch: Epoch;
  readonly replica: ReplicaName;
  readonly policy: string;
  /** As far as the edge can tell without a tokenizer; undefined of a prompt that nobody read. */
  readonly promptTokens: number | undefined;
  /** Tokens of the prompt that the cost counted as cached there or fetched, and how well the former is known. */
  readonly expectedTokens: number;
  readonly trust: Trust;
  /** Where the replica had better fetch the prompt's beginning from; undefined: nowhere. */
  readonly kvFrom: KvSource | undefined;
  /** How many replicas could have served it; the cheapest of them, first of all the chosen one. */
  readonly candidates: number;
  readonly considered: readonly CandidateView[];
  /** Replicas that were left out as failing; and whether the chosen one is, and is tried. */
  readonly failing: number;
  readonly isTrial: boolean;
  /** Replicas of the cell that was taken that were left out since their agents fell silent about their load. */
  readonly stale: number;
  /** The cells that were asked, and which of them was taken for what. */
  readonly cells: CellVerdict;
}

export interface DecideOptions extends EligibilityTerms {
  readonly model: string;
  readonly prompt: PromptView;
  readonly isStream: boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Who would have its first token later than this is refused; absent: nobody is. */
  readonly firstTokenMsMax?: number;
}

/** `failing` takes those who are left out for that. */
export const requestOf = (
  served: ServedModel<Replica>,
  options: DecideOptions,
  failing: Set<Replica>,
): CellRequest => {
  const { prompt, isStream, nowMs, random } = options;
  return {
    chain: prompt.profile === served.profile?.id ? prompt.chain : unreadPrompt.chain,
    promptTokens: served.scale.tokensIn(prompt.bytes),
    blockTokens: served.scale.tokensIn(prompt.blockBytes),
    ...{ isStream, nowMs, random, isLeased: options.isLeased },
    isEligible: (member) => {
      const replica = served.ownerOf(member);
      if (replica === undefined) return false;
      const why = ineligibilityOf(replica, options);
      if (why === 'failing') failing.add(replica);
      return why === undefined;
    },
  };
};

/**
 * Throws `overloaded` when every replica that could be chosen has so much to do that the first token would come too
 * late. Who would wait for nobody is not refused: it would not be faster later. And nobody is for what is only
 * guessed of its own prompt.
 */
export const assertInTime = ({ candidates }: Choice, { firstTokenMsMax, model }: DecideOptions): void => {
  if (firstTokenMsMax === undefined) return;
  let soonestMs = Number.POSITIVE_INFINITY;
  for (const { waitMs, isForeseen, fetch, prefillMs } of candidates) {
    if (waitMs <= 0 || !isForeseen) return;
    soonestMs = Math.min(soonestMs, waitMs + (fetch?.ms ?? 0) + prefillMs);
  }
  if (soonestMs <= firstTokenMsMax) return;
  const name = JSON.stringify(model);
  const retryAfterSeconds = retryAfterOf(soonestMs - firstTokenMsMax);
  const late = `${name} is overloaded: its first token would come too late.`;
  throw new CognitoraError('overloaded', `${late} Try again after the seconds in Retry-After.`, {
    retryAfterSeconds,
  });
};

const sourceOf = ({ fetch }: Readonly<Candidate>): KvSource | undefined =>
  fetch && { node: fetch.from, blocks: fetch.blocks };

/** Of a choice that is to be booked under this reservation. */
export const decisionOf = (
  reservation: Reservation,
  replica: Replica,
  served: ServedModel<Replica>,
  { cell, choice, verdict }: CellChoice,
  told: Pick<Decision, 'promptTokens' | 'failing'>,
): Decision => ({
  reservation,
  node: replica.node.node,
  epoch: replica.node.epoch,
  replica: replica.name,
  policy: cell.policy,
  ...told,
  expectedTokens: choice.expectedTokens,
  kvFrom: sourceOf(choice.candidate),
  trust: choice.member.trust,
  candidates: choice.candidates.length,
  considered: viewCandidates(served, cell, choice),
  isTrial: replica.work.failures.isFailing,
  stale: choice.stale,
  cells: viewVerdict(verdict),
});
