/**
 * What a request asks of its region's admission: whose it is, how its tenant ranks it, and what it is likely to cost.
 * Pure.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  answerTokensCountedMax,
  answerTokensDefault,
  prioritiesMax,
  priorityDefault,
} from '@cognitora/protocol/limits';

export interface Demand {
  readonly tenant: string;
  /** Among the tenant's own: higher goes first. */
  readonly priority: number;
  /** Of prompt and answer, as far as the request tells. */
  readonly tokens: number;
  /** Of those, what the answer may take at most. */
  readonly answerTokens: number;
}

const priorityHeader = 'x-cognitora-priority';

/** In most text; the engine's count corrects it when the request is over. */
const bytesPerToken = 4;

/** Throws `invalid_request` for a priority that is none. */
const priorityOf = (headers: Headers): number => {
  const text = headers.get(priorityHeader);
  if (text === null) return priorityDefault;
  if (/^\d$/.test(text)) return Number(text);
  const message = `${priorityHeader} is a digit, 0 to ${prioritiesMax - 1}.`;
  throw new CognitoraError('invalid_request', message, { param: priorityHeader });
};

export const demandOf = (
  tenant: string,
  headers: Headers,
  bodyBytes: number,
  answerTokensMax = answerTokensDefault,
): Demand => {
  const answerTokens = Math.min(answerTokensCountedMax, Math.ceil(answerTokensMax));
  const tokens = Math.ceil(bodyBytes / bytesPerToken) + answerTokens;
  return { tenant, priority: priorityOf(headers), tokens, answerTokens };
};
