/** Errors as the client sees them: OpenAI-shaped JSON with the status of the table's row. */
import { CognitoraError, openAiErrorJson, toCognitoraError } from '@cognitora/protocol/errors';

/** On an answer that is an error of ours: its code, so that the Worker can decide whether to try elsewhere. */
export const codeHeader = 'x-cognitora-code';

/** On every answer to a request that was to be placed: what was chosen, or why nothing was. */
export const routeHeader = 'x-cognitora-route';

/** On every answer of a node, and on a failure of a request that was placed there. */
export const nodeHeader = 'x-cognitora-node';

/** On a failure where nobody serves the model, but who did is likely to be back in a moment. */
export const awayHeader = 'x-cognitora-away';

/** Headers of an error answer. */
export const errorHeaders = (error: CognitoraError): Headers => {
  const headers = new Headers({ 'content-type': 'application/json', [codeHeader]: error.code });
  const seconds = error.retryAfterSeconds ?? (error.row.status === 503 ? 1 : undefined);
  if (seconds !== undefined) headers.set('retry-after', String(seconds));
  if (error.route !== undefined) headers.set(routeHeader, error.route);
  if (error.node !== undefined) headers.set(nodeHeader, error.node);
  if (error.isAway) headers.set(awayHeader, '1');
  if (error.row.status === 401) headers.set('www-authenticate', 'Bearer');
  return headers;
};

/** A failure of a request that had been placed: it says where. */
export const withPlace = (thrown: unknown, route: string, node: string): unknown =>
  thrown instanceof CognitoraError
    ? new CognitoraError(thrown.code, thrown.message, { route, node })
    : thrown;

/** Anything thrown, as an answer. What was not foreseen is logged: its text never reaches a client. */
export const errorResponse = (thrown: unknown): Response => {
  const error = toCognitoraError(thrown);
  if (error !== thrown) logUnforeseen(thrown);
  return new Response(openAiErrorJson(error), { status: error.row.status, headers: errorHeaders(error) });
};

const logUnforeseen = (thrown: unknown): void => {
  console.error(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
};
