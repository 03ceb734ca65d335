/**
 * What a client is told when a request fails: one class, one wire shape (OpenAI's), and a constructor
 * function per cause, so that every status and code the engine can answer with is listed here.
 */
import * as limits from '../limits.ts';

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    message: string,
    detail: { type: string; param?: string; code?: string; headers?: Record<string, string> },
  ) {
    super(message);
    this.status = status;
    this.type = detail.type;
    this.param = detail.param ?? null;
    this.code = detail.code ?? null;
    this.headers = detail.headers ?? {};
  }

  toBody(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

const badRequest = 'invalid_request_error';

export function invalid(param: string, message: string): ApiError {
  return new ApiError(400, message, { type: badRequest, param, code: 'invalid_value' });
}

export function unsupported(param: string, message: string): ApiError {
  return new ApiError(400, message, { type: badRequest, param, code: 'unsupported' });
}

export function badJson(message: string): ApiError {
  return new ApiError(400, message, { type: badRequest, code: 'invalid_json' });
}

export function contextExceeded(promptTokens: number | string, contextTokens: number): ApiError {
  const message =
    `The prompt has ${promptTokens} tokens, but this model's context is ${contextTokens} tokens, ` +
    'of which at least one is needed for the answer. Shorten the prompt or start the engine with a larger ' +
    '--context.';
  return new ApiError(400, message, { type: badRequest, param: 'messages', code: 'context_length_exceeded' });
}

export function modelNotFound(asked: string, served: string): ApiError {
  const message = `The model "${asked}" does not exist here; this engine serves "${served}".`;
  return new ApiError(404, message, { type: badRequest, param: 'model', code: 'model_not_found' });
}

export function notFound(path: string): ApiError {
  return new ApiError(404, `Unknown path ${path}.`, { type: badRequest, code: 'not_found' });
}

export function methodNotAllowed(allowed: string): ApiError {
  return new ApiError(405, `Use ${allowed} on this path.`, {
    type: badRequest,
    code: 'method_not_allowed',
    headers: { allow: allowed },
  });
}

export function bodyTooLarge(): ApiError {
  // No `connection: close`: a client that is still sending would see a reset instead of this answer.
  const message = `The request body is larger than ${limits.bodyBytesMax} bytes.`;
  return new ApiError(413, message, { type: badRequest, code: 'body_too_large' });
}

function unavailable(message: string, code: string): ApiError {
  return new ApiError(503, message, {
    type: 'server_error',
    code,
    headers: { 'retry-after': String(limits.retryAfterSeconds) },
  });
}

export function loading(): ApiError {
  return unavailable('The model is still loading.', 'model_loading');
}

export function overloaded(): ApiError {
  return unavailable(`More than ${limits.waitingRequestsMax} requests are waiting.`, 'overloaded');
}

export function stopping(): ApiError {
  return unavailable('The engine is shutting down.', 'shutting_down');
}

/** The client is gone: nobody reads this answer, it only ends the work. */
export class Aborted extends Error {
  constructor() {
    super('the client left');
  }
}

/**
 * Any thrown value as an answer. What is not an `ApiError` is our fault and says nothing about the inside.
 */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(500, 'The engine failed while it worked on this request.', {
    type: 'server_error',
    code: 'internal_error',
  });
}
