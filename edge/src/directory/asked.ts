/** A request that a region is asked to decide, and what is known of it by that. Data only. */
import type { Region, RequestId } from '@cognitora/protocol/ids';
import type { Demand } from '../demand.ts';
import type { PromptView } from './decision.ts';
import type { TriedPlace } from './eligibility.ts';
import type { EarlierAttempt, Occasion, ReceiptSubject } from './receipts.ts';

/** For people: what a model's prompts have is learned, and this is where that begins. */
const bytesPerToken = 4;

/** A request that is to be decided. */
export interface Asked {
  readonly requestId: RequestId;
  readonly region: Region;
  readonly model: string;
  readonly prompt: PromptView;
  readonly isStream: boolean;
  /** Where it was before. */
  readonly earlier: readonly EarlierAttempt[];
  readonly occasion: Occasion;
  readonly demand: Demand;
  /** Who served the model a moment ago is waited for: no other region serves it. */
  readonly awaitsNodes: boolean;
  /** What is left of its life. */
  readonly remainingMs: number;
  /** The client's address, where its supervisor may say that it hung up. */
  readonly client?: string | undefined;
}

/** It was tried in this region before. */
export const isRetry = ({ region, earlier }: Asked): boolean =>
  earlier.some((attempt) => attempt.region === region);

/** No replica had it before, of any region: where it was, it was refused. */
export const isFirst = ({ earlier }: Asked): boolean => earlier.every(({ node }) => node === undefined);

/** Who of this region had the request before. Of a host that did not acknowledge it nobody else would, either. */
export const triedIn = (region: Region, earlier: readonly EarlierAttempt[]): readonly TriedPlace[] =>
  earlier.flatMap(({ region: asked, node, replica, code }) => {
    if (asked !== region || node === undefined || replica === undefined) return [];
    return [code === 'ack_timeout' ? { node } : { node, replica }];
  });

/** What its receipt says of it, decided or refused at that time. */
export const aboutOf = (asked: Asked, decidedAtMs: number, queuedMs: number): ReceiptSubject => {
  const { requestId, region, model, prompt, earlier, occasion } = asked;
  return {
    ...{ requestId, region, model, decidedAtMs, earlier, occasion, queuedMs },
    promptBlocks: prompt.chain.length / 2,
    blockTokens: prompt.blockBytes / bytesPerToken,
  };
};
