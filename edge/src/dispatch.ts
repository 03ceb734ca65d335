/**
 * HOT. One inference request from the client's bytes to the response's: authorize, read, parse what routing needs, and
 * hand over to the exchange, which finds an answer. Owns the request's body and its deadline; never retries itself.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseRequestId, type RequestId } from '@cognitora/protocol/ids';
import { queryCharsMax, replayBytesMax, requestMsMax } from '@cognitora/protocol/limits';
import type { HeaderList } from '@cognitora/protocol/link';
import { type InferencePath, inferenceEndpoints, readInferenceRequest } from '@cognitora/protocol/openai';
import { withRequestId } from './attempts.ts';
import { type HeldBody, readBody } from './body-budget.ts';
import { systemClock } from './clock.ts';
import { AnswerStream } from './continuity/answer-stream.ts';
import type { AttemptTerms } from './continuity/attempt.ts';
import { asksOneAnswer } from './continuity/continuable.ts';
import { Exchange } from './continuity/exchange.ts';
import { holdAnswer } from './continuity/held-answer.ts';
import { restOf } from './continuity/rest.ts';
import { clientAnswer, framedHeader, isEventStream } from './continuity/wire.ts';
import { demandOf } from './demand.ts';
import { type Env, type Settings, settingsOf } from './env.ts';
import { errorResponse } from './error-response.ts';
import { authorize } from './identity/principal.ts';
import { PromptDigests } from './prompt-digests.ts';
import { orderRegions } from './region.ts';
import { discardBody } from './upload.ts';

/** Of the client's headers, these reach the engine. */
const forwardedHeaders = ['content-type', 'accept', 'traceparent', 'tracestate'] as const;

/** Any other value would be refused on the way to the engine, as if the engine had failed: it stays behind. */
const headerValuePattern = /^[\t\x20-\x7e]*$/;

const headersFor = (request: Request, requestId: RequestId): HeaderList => {
  const list: [string, string][] = [['x-request-id', requestId]];
  for (const name of forwardedHeaders) {
    const value = request.headers.get(name);
    if (value !== null && headerValuePattern.test(value)) list.push([name, value]);
  }
  return list;
};

/**
 * The client's query is the engine's to read (`?api-version=`, say), as the URL standard writes it. The host in front
 * of it is whatever the client's Host header says, which need not be one.
 */
export const queryOf = (url: string): string => {
  const [whole = ''] = url.split('#', 1);
  // Behind the path, which begins behind the host.
  const at = whole.indexOf('?', whole.indexOf('/', whole.indexOf('://') + 3));
  const query = at < 0 ? '' : new URL(whole.slice(at), 'http://edge').search;
  if (query.length <= queryCharsMax) return query;
  throw new CognitoraError('invalid_request', `The query is longer than ${queryCharsMax} characters.`);
};

export const newRequestId = (): RequestId => `req_${crypto.randomUUID().replaceAll('-', '')}` as RequestId;

/**
 * A controller that aborts with the client's signal, and when its answer is no longer read. The client's own signal
 * does not reach an object: the runtime passes on only those that the Worker made.
 */
const leaving = (client: AbortSignal): AbortController => {
  const controller = new AbortController();
  // It may have left while its key was looked up, or its body read.
  if (client.aborted) controller.abort();
  else client.addEventListener('abort', () => controller.abort(), { once: true });
  return controller;
};

/** The client's own deadline, from when its request came; half a second is as exact as it gets. */
const timeoutHeader = 'x-request-timeout-ms';
/** `never`: an answer that breaks off is not continued by another replica. */
const continueHeader = 'x-cognitora-continue';
/** On an answer, or a failure, of a request that is not sent once more when its answer breaks: its body is not kept. */
const replayHeader = 'x-cognitora-replay';

/** Throws `invalid_request`. */
const timeoutMsOf = (headers: Headers): number => {
  const text = headers.get(timeoutHeader);
  if (text === null) return requestMsMax;
  const ms = /^\d{1,15}$/.test(text.trim()) ? Number(text) : 0;
  if (ms >= 1) return Math.min(ms, requestMsMax);
  const message = `${timeoutHeader} must be a whole number of milliseconds, 1 or more.`;
  throw new CognitoraError('invalid_request', message, { param: timeoutHeader });
};

/** Throws `invalid_request`. */
const refusesContinuation = (headers: Headers): boolean => {
  const text = headers.get(continueHeader);
  if (text === null || text === 'never') return text === 'never';
  throw new CognitoraError('invalid_request', `${continueHeader} can only be "never".`, {
    param: continueHeader,
  });
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Lets whatever else waits in this isolate go first. */
const nextTurn = (): Promise<void> => pause(0);

export const dispatch = async (path: InferencePath, request: Request, env: Env): Promise<Response> => {
  const requestId = parseRequestId(request.headers.get('x-request-id')) ?? newRequestId();
  try {
    const { scope } = inferenceEndpoints[path];
    const { tenant } = await authorize(request.headers.get('authorization'), scope, env);
    return await serve(path, request, requestId, tenant, env);
  } catch (thrown) {
    await discardBody(request);
    return withRequestId(errorResponse(thrown), requestId);
  }
};

/** What routing needs of a body. As JSON reads it, it is kept by nobody but the digests to be made of it. */
const parse = async (path: InferencePath, { parts, byteLength }: HeldBody, { prefix }: Settings) => {
  const { body, ...parsed } = await readInferenceRequest(path, parts, nextTurn);
  const source = { path, model: parsed.model, body, bodyBytes: byteLength, prefix };
  return {
    parsed,
    digests: new PromptDigests(source),
    isOneAnswer: body !== undefined && asksOneAnswer(body),
  };
};

const serve = async (
  path: InferencePath,
  request: Request,
  requestId: RequestId,
  tenant: string,
  env: Env,
): Promise<Response> => {
  const settings = settingsOf(env);
  const query = queryOf(request.url);
  const deadlineMs = systemClock() + timeoutMsOf(request.headers);
  const isRefused = refusesContinuation(request.headers);
  const body = await readBody(request, settings.bodies, deadlineMs);
  try {
    const { parsed, digests, isOneAnswer } = await parse(path, body, settings);
    const left = leaving(request.signal);
    const terms: AttemptTerms = {
      ...{ env, settings, requestId, path, query, digests, model: parsed.model, stream: parsed.stream },
      headers: headersFor(request, requestId),
      demand: demandOf(tenant, request.headers, body.byteLength, parsed.answerTokensMax),
      // Plain workerd's only: address and port.
      client: settings.isSelfHosted ? (request.cf?.clientIp as string | undefined) : undefined,
      gone: left.signal,
      remainingMs: () => Math.max(0, deadlineMs - systemClock()),
    };
    const exchange = new Exchange({
      terms,
      body: { bytes: body.byteLength, spans: parsed.spans, toSend: () => body.toSend() },
      regions: orderRegions(settings.regions, request.cf?.continent as string | undefined),
      isReplayable: () => body.isWhole,
      pause,
    });
    const answer = await exchange.begin();
    return await deliver({ answer, terms, exchange, left, body, isRefused, isOneAnswer });
  } catch (thrown) {
    const told = withRequestId(errorResponse(thrown), requestId);
    if (body.byteLength > replayBytesMax) told.headers.set(replayHeader, 'no');
    body.release();
    return told;
  }
};

interface Delivery {
  readonly answer: Response;
  readonly terms: AttemptTerms;
  readonly exchange: Exchange;
  readonly left: AbortController;
  readonly body: HeldBody;
  readonly isRefused: boolean;
  readonly isOneAnswer: boolean;
}

/** An answer as the client gets it. */
const deliver = async (delivery: Delivery): Promise<Response> => {
  const { answer, exchange, left, body } = delivery;
  const isFramed = answer.headers.has(framedHeader);
  // One that is whole needs its request no more, and says what a longer one would.
  const isKept = isFramed ? body.keep() : body.byteLength <= replayBytesMax;
  const onOver = (): void => body.release();
  const delivered =
    isFramed && isEventStream(answer)
      ? streamed(delivery, onOver)
      : await holdAnswer(answer, exchange, left.signal, onOver);
  if (!isKept) delivered.headers.set(replayHeader, 'no');
  return delivered;
};

const streamed = (delivery: Delivery, onOver: () => void): Response => {
  const { answer, terms, exchange, left, body, isRefused, isOneAnswer } = delivery;
  const { path } = terms;
  const stream = new AnswerStream({
    ...{ answer, path, exchange, clock: systemClock, onOver },
    restOf: (sent) =>
      restOf(sent, { path, body: body.isWhole ? body.bytes : undefined, isRefused, isOneAnswer }),
    onLeft: () => left.abort(),
  });
  return clientAnswer(answer, stream.readable);
};
