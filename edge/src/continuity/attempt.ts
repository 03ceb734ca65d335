/**
 * HOT. One attempt at a request: asks a region to decide and carry, or the object of a node's links to go on with a
 * stream over the next one. Owns how that is said; never decides whether it is done.
 */

import type { RequestSpans } from '@cognitora/protocol/edits';
import { CognitoraError } from '@cognitora/protocol/errors';
import type { NodeId, Region as RegionName, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { HeaderList, ResumeToken } from '@cognitora/protocol/link';
import type { InferencePath } from '@cognitora/protocol/openai';
import type { Demand } from '../demand.ts';
import { type PromptView, unreadPrompt } from '../directory/decision.ts';
import type { EarlierAttempt, Occasion } from '../directory/receipts.ts';
import type { Env, Settings } from '../env.ts';
import { errorResponse, withPlace } from '../error-response.ts';
import {
  askDecision,
  type CarryRequest,
  chainHeader,
  encodeCarry,
  encodeChain,
  openHeader,
  resumeHeader,
} from '../link/carry-request.ts';
import { nodeLinkObject, regionObject } from '../objects.ts';
import type { PromptDigests } from '../prompt-digests.ts';
import { newResumeToken } from '../random.ts';
import { profileOf } from '../roster.ts';

/** What is the same in all attempts at one request. */
export interface AttemptTerms {
  readonly env: Env;
  readonly settings: Settings;
  readonly requestId: RequestId;
  readonly path: InferencePath;
  readonly query: string;
  readonly model: string;
  readonly stream: boolean;
  readonly headers: HeaderList;
  readonly digests: PromptDigests;
  readonly demand: Demand;
  /** The client's address, where its supervisor may say that it hung up. */
  readonly client: string | undefined;
  /** Fires when the client leaves. */
  readonly gone: AbortSignal;
  /** What is left of the request's life now. */
  readonly remainingMs: () => number;
}

/** What is sent: the client's body, or one that ends with a part of the answer. */
export interface AttemptBody {
  readonly bytes: number;
  readonly spans: RequestSpans;
  readonly toSend: () => Uint8Array | ReadableStream<Uint8Array>;
}

export interface Asking {
  readonly region: RegionName;
  readonly earlier: readonly EarlierAttempt[];
  readonly occasion: Occasion;
  readonly awaitsNodes: boolean;
}

/** An answer, and by what its stream may be claimed over another link. */
export interface Attempted {
  readonly answer: Response;
  readonly token: ResumeToken;
}

const post = (stub: Pick<Fetcher, 'fetch'>, path: string, init: RequestInit): Promise<Response> =>
  // An engine's redirect is the client's to follow.
  stub.fetch(`https://object/${path}`, { method: 'POST', redirect: 'manual', ...init });

/** The prompt's digests as this region's replicas have them; undefined where nobody's cache is known. */
const promptFor = async (region: RegionName, terms: AttemptTerms): Promise<PromptView | undefined> => {
  const { env, model, digests } = terms;
  return digests.isPossible ? digests.by(await profileOf(env, region, model)) : undefined;
};

/** A region's object that restarts or is overloaded throws whatever the platform throws: another region may serve. */
const regionError = (thrown: unknown): CognitoraError =>
  thrown instanceof CognitoraError
    ? thrown
    : new CognitoraError('link_lost', 'The region did not answer. Try again.');

/** Asks one region. Never rejects: a failure is an answer that names its code. */
export const attempt = async (asking: Asking, body: AttemptBody, terms: AttemptTerms): Promise<Attempted> => {
  const token = newResumeToken();
  const answer = await carry(asking, body, terms, token).catch((thrown) =>
    errorResponse(regionError(thrown)),
  );
  return { answer, token };
};

const carry = async (
  { region, earlier, occasion, awaitsNodes }: Asking,
  body: AttemptBody,
  terms: AttemptTerms,
  resume: ResumeToken,
): Promise<Response> => {
  const { client, demand, env, gone, headers, model, path, query, requestId, settings, stream } = terms;
  const open = {
    ...{ requestId, path, ...(query === '' ? {} : { query }), model, stream, headers, resume },
    ...{ bodyBytes: body.bytes, spans: body.spans, remainingMs: terms.remainingMs() },
  };
  const object = regionObject(env, region);
  const about = { earlier, occasion, demand, awaitsNodes };
  const request = { region, open, ...about, ...(client === undefined ? {} : { client }) };
  const prompt = await promptFor(region, terms);
  const send = (stub: Pick<Fetcher, 'fetch'>, carried: CarryRequest, digests?: string): Promise<Response> => {
    const chain = digests === undefined ? {} : { [chainHeader]: digests };
    const named = { [openHeader]: encodeCarry(carried), ...chain };
    return post(stub, 'open', { body: body.toSend(), headers: named, signal: gone });
  };
  if (settings.layout === 'one-object') {
    if (prompt === undefined) return send(object, request);
    const { chain, ...note } = prompt;
    return send(object, { ...request, prompt: note }, encodeChain(chain));
  }
  const asked = { requestId, region, model, prompt: prompt ?? unreadPrompt, isStream: stream };
  const { remainingMs } = open;
  const booked = await askDecision(object, { ...asked, ...about, remainingMs, client }, gone);
  try {
    // It may have waited for its decision.
    const opened = { ...open, remainingMs: terms.remainingMs() };
    return await send(nodeLinkObject(env, region, booked.node), { ...request, open: opened, booked });
  } catch (thrown) {
    // The node's object may never have heard of it; to release what it released too means nothing.
    await object.settled([], [{ reservation: booked.reservation, record: undefined }]);
    throw withPlace(regionError(thrown), booked.receipt.route, booked.node);
  }
};

/** A stream that was lost with its link. */
export interface LostStream {
  readonly region: RegionName;
  readonly node: NodeId;
  readonly replica: ReplicaName;
  readonly token: ResumeToken;
  /** Bytes of the engine's answer that arrived. */
  readonly offset: number;
}

/** Asks for the rest of a lost stream, over the next link of its node. Never rejects. */
export const resume = async (
  lost: LostStream,
  earlier: readonly EarlierAttempt[],
  waitMs: number,
  terms: AttemptTerms,
): Promise<Response> => {
  const { client, demand, env, gone, model, requestId, settings, stream } = terms;
  const { region, node } = lost;
  const isOne = settings.layout === 'one-object';
  const object = isOne ? regionObject(env, region) : nodeLinkObject(env, region, node);
  const asked = {
    ...{ ...lost, requestId, model, stream, remainingMs: terms.remainingMs(), waitMs, earlier, demand },
    ...(client === undefined ? {} : { client }),
  };
  try {
    return await post(object, 'resume', { headers: { [resumeHeader]: encodeCarry(asked) }, signal: gone });
  } catch (thrown) {
    return errorResponse(regionError(thrown));
  }
};
