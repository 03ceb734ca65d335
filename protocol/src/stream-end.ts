/**
 * HOT. How a stream of choices ends, by what its engine says in it: a proxy that dies, an engine that answers in the
 * manner of HTTP/1.0, end it in order, too. Reads events, holds none. Pure.
 */
import { findBytes, fromUtf8, utf8 } from './bytes.ts';
import { isRecord, type JsonRecord, jsonValueIn } from './shape.ts';
import { dataOf } from './sse.ts';

const openBrace = 0x7b;
const dataNeedle = utf8('data:');
const choicesNeedle = utf8('"choices"');
const doneNeedle = utf8('[DONE]');
const errorNeedle = utf8('"error"');

export class StreamEnd {
  /** What the engine said of its failure: that was the end. */
  failure: string | undefined;
  #hasData = false;
  #hasChoices = false;
  #isEnded = false;

  /** One event; `endsChoice` where one of its choices has a finish reason. */
  see(event: Uint8Array, endsChoice: boolean): void {
    if (!this.#hasChoices) {
      this.#hasData ||= findBytes(event, dataNeedle) >= 0;
      this.#hasChoices = findBytes(event, choicesNeedle) >= 0;
    }
    if (endsChoice || isDone(event)) this.#isEnded = true;
    const error = errorIn(event);
    if (error === undefined) return;
    const failure = failureOf(error);
    if (failure === undefined) this.#isEnded = true;
    else this.failure ??= failure;
  }

  /** An event that nobody can read may have been the end. */
  skip(): void {
    this.#hasData = true;
    this.#isEnded = true;
  }

  /** Whether the stream, ended here, lacks its end: no choice has a finish reason, and nobody said `[DONE]`. */
  get isMissing(): boolean {
    // A stream of something else is not ours to judge; one that says nothing answers nothing.
    return !this.#isEnded && (this.#hasChoices || !this.#hasData);
  }
}

const isDone = (event: Uint8Array): boolean =>
  event.indexOf(openBrace) < 0 &&
  findBytes(event, doneNeedle) >= 0 &&
  dataOf(fromUtf8(event)).trim() === '[DONE]';

/** The error that an event tells of, in its own `error` or by being one. */
const errorIn = (event: Uint8Array): JsonRecord | undefined => {
  if (findBytes(event, errorNeedle) < 0) return undefined;
  const value = jsonValueIn(event.subarray(Math.max(0, event.indexOf(openBrace))));
  if (!isRecord(value)) return undefined;
  return errorOf(value.error) ?? (value.object === 'error' ? value : undefined);
};

/** What stands in a member `error`, where that tells of one. */
export const errorOf = (error: unknown): JsonRecord | undefined => {
  if (isRecord(error)) return error;
  return typeof error === 'string' && error !== '' ? { message: error } : undefined;
};

/** What an error says of its engine; undefined: nothing, it is the client's fault. */
export const failureOf = (error: JsonRecord): string | undefined => {
  if (isClientsFault(error)) return undefined;
  return typeof error.message === 'string' ? error.message : '';
};

/** It took too long, or there were too many: another engine may do better. */
const passingStatuses: readonly number[] = [408, 429];

/** What an engine would say of this request anywhere else, too. */
const isClientsFault = ({ code, type }: JsonRecord): boolean => {
  const status = typeof code === 'string' || typeof code === 'number' ? Number(code) : Number.NaN;
  if (status >= 400) return status < 500 && !passingStatuses.includes(status);
  return code === 'invalid_request_error' || type === 'invalid_request_error';
};
