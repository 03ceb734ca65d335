/** Why a request was not let in, in its client's words and in those of its receipt. Decides nothing. */
import { CognitoraError, type ErrorCode, type ErrorExtra } from '@cognitora/protocol/errors';
import type { RefusalReason } from './counts.ts';
import type { HeldLimits } from './limits.ts';

/** The limits that held for it. */
export interface RefusalLimits extends HeldLimits {
  /** Of its tenant's requests at once. */
  readonly tenantConcurrency?: number | undefined;
}

/** As its receipt tells it. */
export interface RefusalNote {
  readonly reason: RefusalReason;
  readonly limits: RefusalLimits;
}

export class AdmissionRefusal extends CognitoraError {
  readonly note: RefusalNote;

  constructor(code: ErrorCode, message: string, extra: ErrorExtra, note: RefusalNote) {
    super(code, message, extra);
    this.note = note;
  }
}

const again = 'Try again after the seconds in Retry-After.';

/** By reason: the code, and the words for a client; `model` is quoted. */
const told: Readonly<
  Record<RefusalReason, (model: string, limits: RefusalLimits) => readonly [ErrorCode, string]>
> = {
  tenant_concurrency: (_, { tenantConcurrency: most = 0 }) => [
    'tenant_limit',
    `Your tenant already has its limit of ${most} request${most === 1 ? '' : 's'} at once.`,
  ],
  tenant_share: (model) => [
    'tenant_limit',
    `More of your tenant's requests wait for ${model} than its share of the queue. ${again}`,
  ],
  queue_full: (model) => ['overloaded', `The queue for ${model} is full. ${again}`],
  predicted_late: (model) => [
    'overloaded',
    `${model} is overloaded: its first token would come too late. ${again}`,
  ],
  queue_time: (model, { queueMsMax }) => [
    'overloaded',
    `${model} is overloaded: the request waited for ${queueMsMax / 1_000} s, as long as it may. ${again}`,
  ],
  deadline: () => [
    'total_timeout',
    "The request's time is up (x-request-timeout-ms): it waited for its turn.",
  ],
  client_gone: () => ['client_gone', 'The client left.'],
};

/** `retryAfterSeconds` is not for a deadline that passed, nor for a client that left. */
export const refusalOf = (model: string, note: RefusalNote, retryAfterSeconds: number): AdmissionRefusal => {
  const [code, message] = told[note.reason](JSON.stringify(model), note.limits);
  const isLater = code === 'overloaded' || code === 'tenant_limit';
  return new AdmissionRefusal(code, message, isLater ? { retryAfterSeconds } : {}, note);
};
