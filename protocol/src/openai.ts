/**
 * The subset of the OpenAI API that routing reads: which endpoints there are, what scope each needs, and the few
 * fields of a request body that matter before an engine sees it. Everything else in a body is the engine's business.
 */

import { findSpans, type RequestSpans } from './edits.ts';
import { CognitoraError } from './errors.ts';
import { nameCharsMax } from './limits.ts';
import { type Outline, OutlineScan, outlineOf } from './outline.ts';

export const scopes = ['chat', 'embeddings', 'admin'] as const;
/** What a key may do; `admin` includes nothing else, so that an admin key is not a key for serving. */
export type Scope = (typeof scopes)[number];

/** The endpoints that reach an engine. */
export const inferenceEndpoints = {
  '/v1/chat/completions': { scope: 'chat' },
  '/v1/completions': { scope: 'chat' },
  '/v1/embeddings': { scope: 'embeddings' },
} as const satisfies Record<string, { readonly scope: Scope }>;

export type InferencePath = keyof typeof inferenceEndpoints;

export interface InferenceRequest {
  readonly model: string;
  readonly stream: boolean;
  readonly spans: RequestSpans;
}

/** Reads a body, in parts, for routing. Throws `bad_json` or `invalid_request` with the field that is wrong. */
export const parseInferenceRequest = (parts: readonly Uint8Array[]): InferenceRequest =>
  requestOf(outlineOf(parts));

/** Parts of a large body that are read in one turn: some milliseconds. */
const partsPerTurn = 2;

/** The same, with a pause between the turns of a large body, so that no body holds up what others wait for. */
export const readInferenceRequest = async (
  parts: readonly Uint8Array[],
  pause: () => Promise<void>,
): Promise<InferenceRequest> => {
  if (parts.length <= partsPerTurn) return parseInferenceRequest(parts);
  const scan = new OutlineScan();
  for (const [index, part] of parts.entries()) {
    if (!scan.push(part)) break;
    if (index % partsPerTurn === 1) await pause();
  }
  return requestOf(scan.outline(parts));
};

const requestOf = (outline: Outline): InferenceRequest => {
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
  return { model, stream: stream === true, spans: findSpans(outline) };
};
