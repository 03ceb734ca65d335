/**
 * The subset of the OpenAI API that routing reads: which endpoints there are, what scope each needs, and the few
 * fields of a request body that matter before an engine sees it. Everything else in a body is the engine's business.
 */

import { joinBytes } from './bytes.ts';
import { findSpans, type RequestSpans } from './edits.ts';
import { CognitoraError } from './errors.ts';
import { nameCharsMax, prefixBodyBytesMax } from './limits.ts';
import { type Outline, OutlineScan, outlineOf } from './outline.ts';
import type { JsonRecord } from './shape.ts';

export const scopes = ['chat', 'embeddings', 'admin'] as const;
/** What a key may do; `admin` includes nothing else, so that an admin key is not a key for serving. */
export type Scope = (typeof scopes)[number];

interface Endpoint {
  readonly scope: Scope;
  /** Whether an engine keeps what it computed for the next request that begins alike. */
  readonly hasPrefix: boolean;
}

/** The endpoints that reach an engine. */
export const inferenceEndpoints = {
  '/v1/chat/completions': { scope: 'chat', hasPrefix: true },
  '/v1/completions': { scope: 'chat', hasPrefix: true },
  '/v1/embeddings': { scope: 'embeddings', hasPrefix: false },
} as const satisfies Record<string, Endpoint>;

export type InferencePath = keyof typeof inferenceEndpoints;

export interface InferenceRequest {
  readonly model: string;
  readonly stream: boolean;
  readonly spans: RequestSpans;
  /** What the answer may take, where the request bounds it and all of it was read. */
  readonly answerTokensMax: number | undefined;
  /** All of it as JSON reads it, for its digests; undefined where there are none, or above `prefixBodyBytesMax`. */
  readonly body: JsonRecord | undefined;
}

/** A body that is digested, in one part: then it is parsed. Others stay as they are. */
const inOnePart = (path: InferencePath, parts: readonly Uint8Array[]): readonly Uint8Array[] => {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return inferenceEndpoints[path].hasPrefix && bytes <= prefixBodyBytesMax ? [joinBytes(parts)] : parts;
};

/** Reads a body, in parts, for routing. Throws `bad_json` or `invalid_request` with the field that is wrong. */
export const parseInferenceRequest = (path: InferencePath, parts: readonly Uint8Array[]): InferenceRequest =>
  requestOf(path, outlineOf(inOnePart(path, parts)));

/** Parts of a large body that are read in one turn: some milliseconds. */
const partsPerTurn = 2;

/** The same, with a pause between the turns of a large body, so that no body holds up what others wait for. */
export const readInferenceRequest = async (
  path: InferencePath,
  parts: readonly Uint8Array[],
  pause: () => Promise<void>,
): Promise<InferenceRequest> => {
  const toRead = inOnePart(path, parts);
  if (toRead.length <= partsPerTurn) return requestOf(path, outlineOf(toRead));
  const scan = new OutlineScan();
  for (const [index, part] of toRead.entries()) {
    if (!scan.push(part)) break;
    if (index % partsPerTurn === 1) await pause();
  }
  return requestOf(path, scan.outline(toRead));
};

/** The engine judges what it is asked for: here anything else says nothing. */
const answerTokensIn = ({
  max_completion_tokens: newer,
  max_tokens: older,
}: JsonRecord): number | undefined => {
  const tokens = newer ?? older;
  return typeof tokens === 'number' && tokens > 0 ? tokens : undefined;
};

const requestOf = (path: InferencePath, outline: Outline): InferenceRequest => {
  const { model, stream } = outline.fields;
  if (typeof model !== 'string' || model.length === 0 || model.length > nameCharsMax) {
    throw new CognitoraError(
      'invalid_request',
      'Name a model: "model" must be a string. GET /v1/models lists them.',
      {
        param: 'model',
      },
    );
  }
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new CognitoraError('invalid_request', '"stream" must be true or false.', { param: 'stream' });
  }
  return {
    model,
    stream: stream === true,
    spans: findSpans(outline),
    answerTokensMax: answerTokensIn(outline.fields),
    body: inferenceEndpoints[path].hasPrefix ? outline.body : undefined,
  };
};
