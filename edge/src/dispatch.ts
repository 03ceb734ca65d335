/**
 * HOT. One inference request from the client's bytes to the response's: authorize, read, parse what routing needs, try
 * the regions in order, hand the engine's bytes back as they are. Owns the one rule of when another region is tried:
 * nothing of the request was served, all of its body is still here, and the failure is not the client's.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseRequestId, type Region as RegionName, type RequestId } from '@cognitora/protocol/ids';
import { queryCharsMax, requestMsMax } from '@cognitora/protocol/limits';
import type { HeaderList } from '@cognitora/protocol/link';
import {
  type InferencePath,
  type InferenceRequest,
  inferenceEndpoints,
  readInferenceRequest,
} from '@cognitora/protocol/openai';
import { type FailedAttempt, failureCode, mayTryNext, tellFailure, withRequestId } from './attempts.ts';
import { type HeldBody, readBody } from './body-budget.ts';
import { type PromptView, unreadPrompt } from './directory/decision.ts';
import type { EarlierAttempt } from './directory/receipts.ts';
import { type Env, type Settings, settingsOf } from './env.ts';
import { errorResponse, withRoute } from './error-response.ts';
import { authorize } from './identity/principal.ts';
import {
  type CarryRequest,
  chainHeader,
  encodeCarry,
  encodeChain,
  openHeader,
} from './link/carry-request.ts';
import { nodeLinkObject, regionObject } from './objects.ts';
import { unwrap } from './outcome.ts';
import { PromptDigests } from './prompt-digests.ts';
import { orderRegions } from './region.ts';
import { profileOf } from './roster.ts';
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
 * A signal that fires with the client's. The client's own does not reach an object: the runtime passes on only those
 * that the Worker made.
 */
const passOn = (client: AbortSignal): AbortSignal => {
  const controller = new AbortController();
  client.addEventListener('abort', () => controller.abort(), { once: true });
  return controller.signal;
};

/** Lets whatever else waits in this isolate go first. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

interface Attempt {
  readonly env: Env;
  readonly settings: Settings;
  readonly path: InferencePath;
  readonly query: string;
  readonly request: Request;
  /** Fires when the client leaves before it has an answer. */
  readonly gone: AbortSignal;
  readonly requestId: RequestId;
  readonly parsed: Omit<InferenceRequest, 'body'>;
  readonly digests: PromptDigests;
  readonly body: HeldBody;
}

/** The prompt's digests as this region's replicas have them; undefined where nobody's cache is known. */
const promptFor = async (region: RegionName, options: Attempt): Promise<PromptView | undefined> => {
  const { env, parsed, digests } = options;
  return digests.isPossible ? digests.by(await profileOf(env, region, parsed.model)) : undefined;
};

/** Asks one region to decide and carry; `earlier` are those that were asked before. */
const attempt = async (
  region: RegionName,
  earlier: readonly EarlierAttempt[],
  options: Attempt,
): Promise<Response> => {
  const { env, parsed, body, path, query, requestId, request, gone } = options;
  const open = {
    requestId,
    path,
    ...(query === '' ? {} : { query }),
    model: parsed.model,
    stream: parsed.stream,
    headers: headersFor(request, requestId),
    bodyBytes: body.byteLength,
    spans: parsed.spans,
    remainingMs: requestMsMax,
  };
  const object = regionObject(env, region);
  // Plain workerd's only: address and port.
  const client = options.settings.isSelfHosted ? (request.cf?.clientIp as string | undefined) : undefined;
  const carry = { region, open, earlier, ...(client === undefined ? {} : { client }) };
  const prompt = await promptFor(region, options);
  const send = (stub: Pick<Fetcher, 'fetch'>, carried: CarryRequest, digests?: string): Promise<Response> =>
    stub.fetch('https://object/open', {
      method: 'POST',
      body: body.toSend(),
      headers: {
        [openHeader]: encodeCarry(carried),
        ...(digests === undefined ? {} : { [chainHeader]: digests }),
      },
      // An engine's redirect is the client's to follow.
      redirect: 'manual',
      signal: gone,
    });
  if (options.settings.layout === 'one-object') {
    if (prompt === undefined) return send(object, carry);
    const { chain, ...note } = prompt;
    return send(object, { ...carry, prompt: note }, encodeChain(chain));
  }
  const { model, stream: isStream } = parsed;
  const asked = { requestId, region, model, prompt: prompt ?? unreadPrompt, isStream, earlier };
  const booked = unwrap(await object.decide(asked));
  try {
    return await send(nodeLinkObject(env, region, booked.node), { ...carry, booked });
  } catch (thrown) {
    // The node's object may never have heard of it; to release what it released too means nothing.
    await object.settled([], [{ reservation: booked.reservation, record: undefined }]);
    throw withRoute(regionError(thrown), booked.receipt.route);
  }
};

/** A region's object that restarts or is overloaded throws whatever the platform throws: another region may serve. */
const regionError = (thrown: unknown): CognitoraError =>
  thrown instanceof CognitoraError
    ? thrown
    : new CognitoraError('link_lost', 'The region did not answer. Try again.');

export const dispatch = async (path: InferencePath, request: Request, env: Env): Promise<Response> => {
  const requestId = parseRequestId(request.headers.get('x-request-id')) ?? newRequestId();
  try {
    await authorize(request.headers.get('authorization'), inferenceEndpoints[path].scope, env);
    return await serve(path, request, requestId, env);
  } catch (thrown) {
    await discardBody(request);
    return withRequestId(errorResponse(thrown), requestId);
  }
};

/** What routing needs of a body. As JSON reads it, it is kept by nobody but the digests to be made of it. */
const parse = async (path: InferencePath, { parts, byteLength }: HeldBody, { prefix }: Settings) => {
  const { body, ...parsed } = await readInferenceRequest(path, parts, nextTurn);
  const source = { path, model: parsed.model, body, bodyBytes: byteLength, prefix };
  return { parsed, digests: new PromptDigests(source) };
};

const serve = async (
  path: InferencePath,
  request: Request,
  requestId: RequestId,
  env: Env,
): Promise<Response> => {
  const settings = settingsOf(env);
  const query = queryOf(request.url);
  const body = await readBody(request, settings.bodies);
  try {
    const { parsed, digests } = await parse(path, body, settings);
    const gone = passOn(request.signal);
    const options = { env, settings, path, query, request, gone, requestId, parsed, digests, body };
    const continent = request.cf?.continent as string | undefined;
    const failures: FailedAttempt[] = [];
    for (const region of orderRegions(settings.regions, continent)) {
      const earlier = failures.map(({ region: asked, code }) => ({ region: asked, code }));
      const answer = await attempt(region, earlier, options).catch((thrown) =>
        errorResponse(regionError(thrown)),
      );
      const code = failureCode(answer);
      if (code === undefined) return answer;
      failures.push({ region, code, answer });
      if (gone.aborted || !mayTryNext(code) || !body.isWhole) break;
    }
    const failure = tellFailure(failures, requestId);
    if (failure === undefined) throw new CognitoraError('no_capacity', 'No region is configured.');
    return failure;
  } finally {
    body.release();
  }
};
