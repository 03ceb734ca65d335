/**
 * The messages of a link and the two HTTP calls before it: types, encoders and the one parser of each. JSON payloads
 * are parsed tolerantly (unknown fields are ignored, so that neighbours one version apart agree) and strictly (a known
 * field of the wrong shape is a `protocol_error`). `docs/protocol.md` has the tables; a test holds them together.
 */
import { utf8 } from './bytes.ts';
import { parseSpans, type RequestSpans } from './edits.ts';
import { CognitoraError, type ErrorCode, isErrorCode } from './errors.ts';
import type { Epoch, Region, ReplicaName, RequestId } from './ids.ts';
import { parseRegion } from './ids.ts';
import { type KvSource, readKvSource } from './kv-fabric.ts';
import {
  ackBusyMsMax,
  bodyBytesMaxSelfHosted,
  headersPerMessageMax,
  modelsPerReplicaMax,
  nameCharsMax,
  prefixBlockBytesMax,
  prefixBlockBytesMin,
  queryCharsMax,
  replicasPerNodeMax,
  replicaWhyCharsMax,
  requestMsMax,
} from './limits.ts';
import { FieldReader, type JsonRecord, parseJsonRecord } from './shape.ts';
import type { Telemetry } from './telemetry.ts';

/** Protocol versions this code speaks. */
export const versionMin = 1;
export const versionMax = 1;

export const linkPath = '/link/v1';
export const enrolPath = '/link/v1/enrol';

/** What the agent says `ping` with and the platform answers without waking an object. */
export const pingText = 'ping';
export const pongText = 'pong';

export const replicaStates = ['loading', 'ready', 'draining', 'failed'] as const;
export type ReplicaState = (typeof replicaStates)[number];

export const replicaRoles = ['both', 'prefill', 'decode'] as const;
/** Only `both` gets requests until prefill and decode are split. */
export type ReplicaRole = (typeof replicaRoles)[number];

/** A model as `/v1/models` shows it. */
export interface ModelCard {
  /** The public name: what a client asks for. */
  readonly id: string;
  readonly createdSeconds: number;
  readonly ownedBy: string;
}

export interface ReplicaReport {
  readonly name: ReplicaName;
  readonly state: ReplicaState;
  /** Absent: `both`. */
  readonly role?: ReplicaRole;
  /** Of one that failed, for people. */
  readonly why?: string;
  /** How long an ACK may take; absent: `ackMsMax`. */
  readonly ackMs?: number;
  readonly models: readonly ModelCard[];
}

export interface Hello {
  readonly versionMin: number;
  readonly versionMax: number;
  /** The agent's own release, for people. */
  readonly agent: string;
  /** The host's name, for people. */
  readonly name: string;
  /** The agent's receive windows for request bodies. */
  readonly streamWindowBytes: number;
  readonly linkWindowBytes: number;
  readonly replicas: readonly ReplicaReport[];
}

export interface Welcome {
  readonly version: number;
  readonly epoch: Epoch;
  readonly region: Region;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** The edge's receive windows for response bodies. */
  readonly streamWindowBytes: number;
  readonly linkWindowBytes: number;
  /** How this edge digests prompts; absent from one that does not. */
  readonly prefix?: PrefixTerms;
}

/** What all ends of one edge have in common when they digest a prompt. */
export interface PrefixTerms {
  /** Of the trust domain. Without it nobody can tell what a digest stands for. */
  readonly salt: string;
  readonly blockBytes: number;
}

export interface Goaway {
  readonly code: ErrorCode | 'leaving';
  readonly message: string;
}

export type HeaderList = readonly (readonly [name: string, value: string])[];

/** The metadata in front of OPEN's first body bytes. */
export interface OpenRequest {
  readonly requestId: RequestId;
  readonly replica: ReplicaName;
  readonly path: string;
  /** The client's query, `?` included, as it goes on to the engine. */
  readonly query?: string;
  /** The model's public name. */
  readonly model: string;
  readonly stream: boolean;
  readonly headers: HeaderList;
  readonly bodyBytes: number;
  /** Where the members that edits touch stand in the body. */
  readonly spans: RequestSpans;
  /** What is left of the request's life. */
  readonly remainingMs: number;
  /** Whose KV cache the replica's host had better fetch the prompt's beginning from. */
  readonly kvFrom?: KvSource;
  /** By which a later link of the node may claim the stream; absent: it ends with its link. */
  readonly resume?: ResumeToken;
}

/** 32 lower-case hex digits that nobody can guess; names one attempt at one request. */
export type ResumeToken = string & { readonly resumeToken: unique symbol };

/** RESUME: the stream of an older link goes on here, with the answer's bytes from `offset` on. */
export interface ResumeRequest {
  readonly token: ResumeToken;
  /** Bytes of the response body that arrived. */
  readonly offset: number;
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: HeaderList;
}

/** Tokens as the engine counted them; a field is absent where the engine does not say. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens?: number;
}

/** What the agent knows when a stream is over, by its own monotonic clock. */
export interface FinalRecord {
  readonly bodyBytes: number;
  readonly totalMs: number;
  /** To the engine's first body byte. */
  readonly firstByteMs?: number;
  readonly usage?: Usage;
}

export interface StreamFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly record: FinalRecord;
}

export const cancelReasons = ['client_gone', 'client_stalled', 'total_timeout', 'ack_timeout'] as const;
export type CancelReason = (typeof cancelReasons)[number];

export const encodeJson = (
  message:
    | Hello
    | Welcome
    | Goaway
    | ResponseHead
    | FinalRecord
    | StreamFailure
    | OpenRequest
    | ResumeRequest
    | Telemetry
    | { readonly replicas: readonly ReplicaReport[] },
): Uint8Array => utf8(JSON.stringify(message));

const readerOf = (payload: Uint8Array, what: string): FieldReader =>
  new FieldReader(parseJsonRecord(payload, 'protocol_error', what), 'protocol_error', what);

const readReplica = (item: FieldReader): ReplicaReport => ({
  name: item.name('name', nameCharsMax) as ReplicaName,
  state: item.oneOf('state', replicaStates),
  ...(item.has('role') ? { role: item.oneOf('role', replicaRoles) } : {}),
  ...(item.has('why') ? { why: item.name('why', replicaWhyCharsMax) } : {}),
  ...(item.has('ackMs') ? { ackMs: item.integer('ackMs', 1_000, ackBusyMsMax) } : {}),
  models: item.records('models', modelsPerReplicaMax, (model) => ({
    id: model.name('id', nameCharsMax),
    createdSeconds: model.integer('createdSeconds', 0, Number.MAX_SAFE_INTEGER),
    ownedBy: model.name('ownedBy', nameCharsMax),
  })),
});

const readReplicas = (reader: FieldReader): readonly ReplicaReport[] => {
  const replicas = reader.records('replicas', replicasPerNodeMax, readReplica);
  if (new Set(replicas.map((replica) => replica.name)).size !== replicas.length) {
    reader.fail('replicas', 'a list without repeated names');
  }
  return replicas;
};

const windowBytesMax = 2 ** 30;

export const parseHello = (payload: Uint8Array): Hello => {
  const reader = readerOf(payload, 'HELLO');
  const lowest = reader.integer('versionMin', 1, 65_535);
  return {
    versionMin: lowest,
    versionMax: reader.integer('versionMax', lowest, 65_535),
    agent: reader.name('agent', nameCharsMax),
    name: reader.name('name', nameCharsMax),
    streamWindowBytes: reader.integer('streamWindowBytes', 1, windowBytesMax),
    linkWindowBytes: reader.integer('linkWindowBytes', 1, windowBytesMax),
    replicas: readReplicas(reader),
  };
};

export const parseReplicas = (payload: Uint8Array): readonly ReplicaReport[] =>
  readReplicas(readerOf(payload, 'REPLICAS'));

export const parseWelcome = (payload: Uint8Array): Welcome => {
  const reader = readerOf(payload, 'WELCOME');
  return {
    version: reader.integer('version', 1, 65_535),
    epoch: reader.integer('epoch', 1, Number.MAX_SAFE_INTEGER) as Epoch,
    region: parseRegion(reader.string('region', nameCharsMax)) ?? reader.fail('region', "a region's name"),
    heartbeatMs: reader.integer('heartbeatMs', 100, 600_000),
    leaseMs: reader.integer('leaseMs', 100, 600_000),
    streamWindowBytes: reader.integer('streamWindowBytes', 1, windowBytesMax),
    linkWindowBytes: reader.integer('linkWindowBytes', 1, windowBytesMax),
    ...(reader.has('prefix') ? { prefix: readPrefixTerms(reader.record('prefix')) } : {}),
  };
};

const readPrefixTerms = (record: JsonRecord): PrefixTerms => {
  const reader = new FieldReader(record, 'protocol_error', 'WELCOME: prefix');
  return {
    salt: reader.string('salt', nameCharsMax),
    blockBytes: reader.integer('blockBytes', prefixBlockBytesMin, prefixBlockBytesMax),
  };
};

const errorCodeOf = (text: string): ErrorCode => (isErrorCode(text) ? text : 'internal');

export const parseGoaway = (payload: Uint8Array): Goaway => {
  const reader = readerOf(payload, 'GOAWAY');
  const code = reader.string('code', nameCharsMax);
  return {
    code: code === 'leaving' ? 'leaving' : errorCodeOf(code),
    message: reader.string('message', 4096),
  };
};

const readHeaders = (reader: FieldReader): HeaderList =>
  reader.list('headers', headersPerMessageMax).map((pair) => {
    const [name, value, ...rest] = Array.isArray(pair) ? (pair as readonly unknown[]) : [];
    if (typeof name !== 'string' || typeof value !== 'string' || rest.length > 0) {
      return reader.fail('headers', 'pairs of strings');
    }
    return [name, value];
  });

/** It becomes part of a request line: no blanks, no line ends. */
const queryPattern = /^\?[\x21-\x7e]+$/;

export const parseOpenRequest = (meta: Uint8Array): OpenRequest => {
  const reader = readerOf(meta, 'OPEN');
  const bodyBytes = reader.integer('bodyBytes', 0, bodyBytesMaxSelfHosted);
  const query = reader.optionalString('query', queryCharsMax);
  if (query !== undefined && !queryPattern.test(query)) reader.fail('query', 'the query of a URL');
  return {
    requestId: reader.string('requestId', 128) as RequestId,
    replica: reader.string('replica', nameCharsMax) as ReplicaName,
    path: reader.string('path', 256),
    ...(query === undefined ? {} : { query }),
    model: reader.string('model', nameCharsMax),
    stream: reader.boolean('stream'),
    headers: readHeaders(reader),
    bodyBytes,
    spans: parseSpans(reader.record('spans'), bodyBytes),
    remainingMs: reader.integer('remainingMs', 0, requestMsMax),
    ...(reader.has('kvFrom') ? { kvFrom: readKvSource(reader.record('kvFrom')) } : {}),
    ...(reader.has('resume') ? { resume: readToken(reader, 'resume') } : {}),
  };
};

const tokenPattern = /^[0-9a-f]{32}$/;

const readToken = (reader: FieldReader, field: string): ResumeToken => {
  const token = reader.string(field, 32);
  return tokenPattern.test(token) ? (token as ResumeToken) : reader.fail(field, '32 hex digits');
};

export const parseResume = (payload: Uint8Array): ResumeRequest => {
  const reader = readerOf(payload, 'RESUME');
  return {
    token: readToken(reader, 'token'),
    offset: reader.integer('offset', 0, Number.MAX_SAFE_INTEGER),
  };
};

export const parseHead = (payload: Uint8Array): ResponseHead => {
  const reader = readerOf(payload, 'HEAD');
  return { status: reader.integer('status', 200, 599), headers: readHeaders(reader) };
};

const readUsage = (reader: FieldReader): Usage => {
  const cachedTokens = reader.optionalInteger('cachedTokens', 0, Number.MAX_SAFE_INTEGER);
  return {
    promptTokens: reader.integer('promptTokens', 0, Number.MAX_SAFE_INTEGER),
    completionTokens: reader.integer('completionTokens', 0, Number.MAX_SAFE_INTEGER),
    ...(cachedTokens === undefined ? {} : { cachedTokens }),
  };
};

const readRecord = (reader: FieldReader, what: string): FinalRecord => {
  const firstByteMs = reader.optionalInteger('firstByteMs', 0, Number.MAX_SAFE_INTEGER);
  return {
    bodyBytes: reader.integer('bodyBytes', 0, Number.MAX_SAFE_INTEGER),
    totalMs: reader.integer('totalMs', 0, Number.MAX_SAFE_INTEGER),
    ...(firstByteMs === undefined ? {} : { firstByteMs }),
    ...(reader.has('usage')
      ? { usage: readUsage(new FieldReader(reader.record('usage'), 'protocol_error', `${what}: usage`)) }
      : {}),
  };
};

export const parseFinalRecord = (payload: Uint8Array): FinalRecord =>
  readRecord(readerOf(payload, 'END'), 'END');

export const parseStreamFailure = (payload: Uint8Array): StreamFailure => {
  const reader = readerOf(payload, 'FAIL');
  return {
    code: errorCodeOf(reader.string('code', nameCharsMax)),
    message: reader.string('message', 4096),
    record: readRecord(
      new FieldReader(reader.record('record'), 'protocol_error', 'FAIL: record'),
      'FAIL: record',
    ),
  };
};

/** CANCEL's payload is one byte: the index in `cancelReasons`; a newer reason reads as `client_gone`. */
export const encodeCancel = (reason: CancelReason): Uint8Array =>
  new Uint8Array([cancelReasons.indexOf(reason)]);

export const parseCancel = (payload: Uint8Array): CancelReason => {
  const index = payload[0];
  if (payload.length !== 1 || index === undefined) {
    throw new CognitoraError('protocol_error', 'CANCEL carries exactly one byte');
  }
  return cancelReasons[index] ?? 'client_gone';
};
