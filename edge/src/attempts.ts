/**
 * What became of a request where it was: which failure lets another replica or region be tried, which of several the
 * client is told, and the headers that say what each answered. Pure; asks nobody.
 */
import { type ErrorCode, errorTable, isErrorCode } from '@cognitora/protocol/errors';
import type { NodeId, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { ReplicaPlace } from './directory/eligibility.ts';
import type { EarlierAttempt } from './directory/receipts.ts';
import { codeHeader, nodeHeader, routeHeader } from './error-response.ts';

/** A region that was asked and failed, and whom it chose if it chose somebody. */
export interface FailedAttempt extends EarlierAttempt {
  readonly answer: Response;
}

/** With these an engine, or a proxy in front of it, says that it cannot serve now. */
const passingStatuses: readonly number[] = [502, 503, 504];

/** The code of a failure: ours, or the engine's where another one may do better; undefined for an answer. */
export const failureCode = (answer: Response): ErrorCode | undefined => {
  const code = answer.headers.get(codeHeader) ?? '';
  if (isErrorCode(code)) return code;
  return passingStatuses.includes(answer.status) ? 'engine_unavailable' : undefined;
};

const replicaPattern = /(?:^|; )replica=([^;]+)/;

/** Whom an answer is of; empty of one for which nobody was chosen. */
export const placeOf = ({ headers }: Response): Partial<ReplicaPlace> => {
  const node = headers.get(nodeHeader);
  const replica = replicaPattern.exec(headers.get(routeHeader) ?? '')?.[1];
  return node === null || replica === undefined
    ? {}
    : { node: node as NodeId, replica: decodeURIComponent(replica) as ReplicaName };
};

/** Whether another replica or region may not share this failure. */
export const mayTryNext = (code: ErrorCode): boolean =>
  code === 'model_not_found' || errorTable[code].retryable;

/**
 * Which failure says most, when no region could serve: that it broke, that it is full, not found, not there; last of
 * all that it was not to be tried again, which says nothing of what failed.
 */
const tellingOrder: readonly string[] = ['retry_budget_spent', 'no_nodes', 'model_not_found', 'no_capacity'];

const rankOf = ({ code }: FailedAttempt): number => {
  const index = tellingOrder.indexOf(code);
  return index < 0 ? tellingOrder.length : index;
};

/** The failure that the client is told: one that ended the search, else the one that says most, the first of equals. */
const mostTelling = (failures: readonly FailedAttempt[]): FailedAttempt | undefined => {
  const last = failures.at(-1);
  if (last === undefined || !mayTryNext(last.code)) return last;
  return failures.reduce((most, next) => (rankOf(next) > rankOf(most) ? next : most));
};

/** One region's part of the header: `region=weur; code=no_capacity; replicas=2; loading=2`. */
const partOf = ({ region, code, answer }: FailedAttempt): string => {
  const route = answer.headers.get(routeHeader);
  return [`region=${region}; code=${code}`, ...(route === null ? [] : [route])].join('; ');
};

/** A failure, with the request's id, so that a person can name it. */
export const withRequestId = (failure: Response, requestId: RequestId): Response => {
  const answer = new Response(failure.body, failure);
  answer.headers.set('x-request-id', requestId);
  return answer;
};

/** What the client is told when no region served its request; undefined when none was asked. */
export const tellFailure = (
  failures: readonly FailedAttempt[],
  requestId: RequestId,
): Response | undefined => {
  const told = mostTelling(failures);
  if (told === undefined) return undefined;
  const answer = withRequestId(told.answer, requestId);
  answer.headers.set('x-cognitora-region', told.region);
  answer.headers.set(routeHeader, failures.map(partOf).join(', '));
  return answer;
};
