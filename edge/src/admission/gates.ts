/** What is kept of each model and of each tenant that is asked for, or was of late. Decides nothing. */
import { countedMax } from '@cognitora/protocol/limits';
import type { Reservation } from '../directory/load.ts';
import type { Ticket } from './admission.ts';
import { Counts, WaitTimes } from './counts.ts';
import { FairQueue } from './fair-queue.ts';
import { GrantPace } from './grant-pace.ts';
import { LikelyTime } from './likely-time.ts';
import { AnswerTokens, PromptTokens, UsualAnswer } from './token-costs.ts';

export class ModelGate {
  readonly queue = new FairQueue<Ticket>();
  readonly pace = new GrantPace();
  readonly firstTokens = new LikelyTime();
  readonly promptTokens = new PromptTokens();
  readonly answerTokens = new AnswerTokens();
  readonly live = new Set<Reservation>();
  readonly counts = new Counts();
  readonly waits = new WaitTimes();
  unservedSinceMs: number | undefined;

  get isIdle(): boolean {
    return this.queue.size === 0 && this.live.size === 0;
  }
}

export class TenantGate {
  readonly live = new Set<Reservation>();
  readonly counts = new Counts();
  /** How long its requests took of late, from their seat to their end. */
  readonly lengths = new LikelyTime();
  readonly answers = new UsualAnswer();

  get isIdle(): boolean {
    return this.live.size === 0;
  }
}

/** Of many names those that have nothing here now are forgotten, the oldest first. */
export const keep = <Gate extends { readonly isIdle: boolean }>(
  gates: Map<string, Gate>,
  name: string,
  gate: Gate,
): void => {
  gates.set(name, gate);
  if (gates.size <= countedMax) return;
  for (const [other, { isIdle }] of gates) {
    if (gates.size <= countedMax) return;
    if (isIdle && other !== name) gates.delete(other);
  }
};
