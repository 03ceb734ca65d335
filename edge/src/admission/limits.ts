/**
 * What an operator may limit, for each model and each tenant, and what holds where nothing is set. One parser for what
 * the admin API is sent and what the database kept. Data only.
 */

import { CognitoraError } from '@cognitora/protocol/errors';
import {
  firstTokenMsMax,
  firstTokenObjectiveMsDefault,
  queueMaxDefault,
  queueMaxMax,
  queueMsMaxDefault,
  requestMsMax,
  streamsPerLinkMax,
} from '@cognitora/protocol/limits';
import { FieldReader, type JsonRecord } from '@cognitora/protocol/shape';

/** Of one model, in one region. What is absent is as `modelDefaults`, or has no limit. */
export interface ModelLimits {
  /** Requests at once. */
  readonly concurrency?: number;
  /** Requests that wait. */
  readonly queueMax?: number;
  /** For how long each of them does. */
  readonly queueMsMax?: number;
  /** From the request to its first token: who would be later is refused. */
  readonly firstTokenMs?: number;
  /** Requests that each replica has at once; absent: learned. */
  readonly seatsPerReplica?: number;
}

/** Of one tenant, in one region. */
export interface TenantLimits {
  /** Requests at once, those that wait included. */
  readonly concurrency?: number;
  /** Its share beside that of others, where absent is 1. */
  readonly weight?: number;
}

/** With the defaults in the place of what is absent. */
export interface HeldLimits extends ModelLimits {
  readonly queueMax: number;
  readonly queueMsMax: number;
  readonly firstTokenMs: number;
}

export const modelDefaults: HeldLimits = {
  queueMax: queueMaxDefault,
  queueMsMax: queueMsMaxDefault,
  firstTokenMs: firstTokenObjectiveMsDefault,
};

export type LimitKind = 'models' | 'tenants';

/** More at once than any region carries. */
const concurrencyMax = 1_000_000;
/** A tenant may have a hundred times what another has, and no less than a hundredth. */
const weightMin = 0.01;
const weightMax = 100;

const modelBounds = {
  concurrency: [1, concurrencyMax],
  queueMax: [0, queueMaxMax],
  queueMsMax: [0, requestMsMax],
  firstTokenMs: [1, firstTokenMsMax],
  seatsPerReplica: [1, streamsPerLinkMax],
} as const satisfies Record<keyof ModelLimits, readonly [number, number]>;

/** Only what is limited at all is a limit. */
const assertKnown = (record: JsonRecord, known: readonly string[], what: string): void => {
  const unknown = Object.keys(record).find((field) => !known.includes(field));
  if (unknown === undefined) return;
  const shown = JSON.stringify(unknown.slice(0, 64));
  throw new CognitoraError('invalid_request', `${what} have ${known.join(', ')}, no ${shown}.`);
};

/** Throws `invalid_request` for what is no limit of a model. */
export const readModelLimits = (record: JsonRecord): ModelLimits => {
  assertKnown(record, Object.keys(modelBounds), 'Limits of a model');
  const reader = new FieldReader(record, 'invalid_request', 'The limits');
  const limits: Partial<Record<keyof ModelLimits, number>> = {};
  for (const [name, [min, max]] of Object.entries(modelBounds) as [keyof ModelLimits, [number, number]][]) {
    const value = reader.optionalInteger(name, min, max);
    if (value !== undefined) limits[name] = value;
  }
  return limits;
};

/** Throws `invalid_request` for what is no limit of a tenant. */
export const readTenantLimits = (record: JsonRecord): TenantLimits => {
  assertKnown(record, ['concurrency', 'weight'], 'Limits of a tenant');
  const reader = new FieldReader(record, 'invalid_request', 'The limits');
  const concurrency = reader.optionalInteger('concurrency', 0, concurrencyMax);
  const weight = reader.has('weight') ? reader.number('weight', weightMin, weightMax) : undefined;
  return { ...(concurrency !== undefined && { concurrency }), ...(weight !== undefined && { weight }) };
};
