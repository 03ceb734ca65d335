/**
 * The closed table of failures: code -> HTTP status, OpenAI error type, whether the next region is tried while
 * nothing was answered, and whose fault it is. Every error a client or a peer sees is one row; nothing else builds an
 * error body.
 */

/** Who has to act: the caller, the engine behind a replica, the fleet's operator, or ourselves. */
export type Fault = 'client' | 'engine' | 'fleet' | 'edge';

interface Row {
  readonly status: number;
  readonly type: string;
  readonly retryable: boolean;
  readonly fault: Fault;
}

export const errorTable = {
  bad_json: { status: 400, type: 'invalid_request_error', retryable: false, fault: 'client' },
  invalid_request: { status: 400, type: 'invalid_request_error', retryable: false, fault: 'client' },
  missing_key: { status: 401, type: 'authentication_error', retryable: false, fault: 'client' },
  invalid_key: { status: 401, type: 'authentication_error', retryable: false, fault: 'client' },
  wrong_scope: { status: 403, type: 'permission_error', retryable: false, fault: 'client' },
  model_not_found: { status: 404, type: 'invalid_request_error', retryable: false, fault: 'client' },
  not_found: { status: 404, type: 'invalid_request_error', retryable: false, fault: 'client' },
  method_not_allowed: { status: 405, type: 'invalid_request_error', retryable: false, fault: 'client' },
  upload_timeout: { status: 408, type: 'invalid_request_error', retryable: false, fault: 'client' },
  body_too_large: { status: 413, type: 'invalid_request_error', retryable: false, fault: 'client' },
  client_gone: { status: 499, type: 'invalid_request_error', retryable: false, fault: 'client' },
  client_stalled: { status: 499, type: 'invalid_request_error', retryable: false, fault: 'client' },
  misconfigured: { status: 500, type: 'server_error', retryable: false, fault: 'edge' },
  internal: { status: 500, type: 'server_error', retryable: false, fault: 'edge' },
  engine_unreachable: { status: 502, type: 'server_error', retryable: true, fault: 'engine' },
  engine_broke_off: { status: 502, type: 'server_error', retryable: true, fault: 'engine' },
  engine_not_understood: { status: 502, type: 'server_error', retryable: true, fault: 'engine' },
  engine_unavailable: { status: 503, type: 'server_error', retryable: true, fault: 'engine' },
  engine_refused: { status: 502, type: 'server_error', retryable: false, fault: 'engine' },
  link_lost: { status: 502, type: 'server_error', retryable: true, fault: 'fleet' },
  ack_timeout: { status: 504, type: 'server_error', retryable: true, fault: 'fleet' },
  no_capacity: { status: 503, type: 'server_error', retryable: true, fault: 'fleet' },
  no_nodes: { status: 503, type: 'server_error', retryable: true, fault: 'fleet' },
  over_budget: { status: 503, type: 'server_error', retryable: true, fault: 'edge' },
  replica_gone: { status: 503, type: 'server_error', retryable: true, fault: 'fleet' },
  first_token_timeout: { status: 504, type: 'server_error', retryable: true, fault: 'engine' },
  inter_token_timeout: { status: 504, type: 'server_error', retryable: true, fault: 'engine' },
  total_timeout: { status: 504, type: 'server_error', retryable: false, fault: 'fleet' },
  stream_gone: { status: 502, type: 'server_error', retryable: true, fault: 'fleet' },
  stream_broken: { status: 502, type: 'server_error', retryable: false, fault: 'fleet' },
  not_continuable: { status: 502, type: 'server_error', retryable: true, fault: 'engine' },
  overloaded: { status: 503, type: 'server_error', retryable: true, fault: 'fleet' },
  retry_budget_spent: { status: 503, type: 'server_error', retryable: true, fault: 'fleet' },
  tenant_limit: { status: 429, type: 'rate_limit_error', retryable: false, fault: 'client' },
  protocol_error: { status: 502, type: 'server_error', retryable: true, fault: 'fleet' },
  flooded: { status: 429, type: 'invalid_request_error', retryable: false, fault: 'fleet' },
  version_unsupported: { status: 426, type: 'invalid_request_error', retryable: false, fault: 'fleet' },
  not_enrolled: { status: 401, type: 'authentication_error', retryable: false, fault: 'fleet' },
  identity_refused: { status: 401, type: 'authentication_error', retryable: false, fault: 'fleet' },
  superseded: { status: 409, type: 'invalid_request_error', retryable: false, fault: 'fleet' },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof errorTable;

/** True when `text` names a row: what a peer one version ahead sends may not. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorTable, text);

/** What some failures say beside their row. */
export interface ErrorExtra {
  readonly param?: string;
  readonly retryAfterSeconds?: number;
  readonly route?: string;
  readonly node?: string;
  readonly isAway?: boolean;
}

/** A failure with its row. `message` is for people and says what to do; it never holds a secret or a prompt. */
export class CognitoraError extends Error {
  readonly code: ErrorCode;
  readonly param: string | undefined;
  /** Seconds until a retry makes sense; sent as `Retry-After`. */
  readonly retryAfterSeconds: number | undefined;
  /** Of a request that was to be placed: what was chosen, or why nothing was; sent as `x-cognitora-route`. */
  readonly route: string | undefined;
  /** Of one that was placed: on which node; sent as `x-cognitora-node`. */
  readonly node: string | undefined;
  /** Nobody serves the model, but who did is likely to be back in a moment; sent as `x-cognitora-away`. */
  readonly isAway: boolean;

  constructor(code: ErrorCode, message: string, extra: ErrorExtra = {}) {
    super(message);
    this.name = 'CognitoraError';
    this.code = code;
    this.param = extra.param;
    this.retryAfterSeconds = extra.retryAfterSeconds;
    this.route = extra.route;
    this.node = extra.node;
    this.isAway = extra.isAway === true;
  }

  get row(): Row {
    return errorTable[this.code];
  }
}

/** Anything thrown, as a row of the table; what we did not foresee is `internal` and keeps its text to itself. */
export const toCognitoraError = (thrown: unknown): CognitoraError =>
  thrown instanceof CognitoraError
    ? thrown
    : new CognitoraError('internal', 'The edge failed to handle this request. Its log has the cause.');

/** The OpenAI error body: `{"error":{"message","type","param","code"}}`. */
export const openAiErrorJson = (error: CognitoraError): string =>
  JSON.stringify({
    error: { message: error.message, type: error.row.type, param: error.param ?? null, code: error.code },
  });

/** What whatever was thrown says. */
export const messageOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : String(thrown);
