/**
 * Reading values of unknown shape, once, at the boundary: each function returns what it names or throws
 * `invalid_request` or `protocol_error` (the caller's choice) naming the field. No schema language; the messages of
 * the link are few and flat.
 */
import { fromUtf8 } from './bytes.ts';
import { CognitoraError, type ErrorCode } from './errors.ts';

export type JsonRecord = { readonly [name: string]: unknown };

export const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a member says anything: engines write null, nothing, or an empty list where they have nothing to say. */
export const isSaid = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0);

/** A JSON object out of text; undefined when it is none. */
export const jsonRecordIn = (text: string): JsonRecord | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const lenientDecoder = new TextDecoder();

/** What an engine's bytes say as JSON; undefined when they are none. */
export const jsonValueIn = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(lenientDecoder.decode(bytes));
  } catch {
    return undefined;
  }
};

/** Parses UTF-8 JSON that must be an object. */
export const parseJsonRecord = (bytes: Uint8Array, code: ErrorCode, what: string): JsonRecord => {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes));
  } catch {
    throw new CognitoraError(code, `${what} is not valid JSON.`);
  }
  if (!isRecord(value)) throw new CognitoraError(code, `${what} must be a JSON object.`);
  return value;
};

/** Fields of one record, read with their bounds; `what` names the record in errors. */
export class FieldReader {
  readonly #record: JsonRecord;
  readonly #code: ErrorCode;
  readonly #what: string;

  constructor(record: JsonRecord, code: ErrorCode, what: string) {
    this.#record = record;
    this.#code = code;
    this.#what = what;
  }

  fail(name: string, expected: string): never {
    throw new CognitoraError(this.#code, `${this.#what}: ${name} must be ${expected}.`, { param: name });
  }

  has(name: string): boolean {
    return this.#record[name] !== undefined && this.#record[name] !== null;
  }

  string(name: string, charsMax: number): string {
    const value = this.#record[name];
    if (typeof value !== 'string' || value.length === 0 || value.length > charsMax) {
      this.fail(name, `a string of 1 to ${charsMax} characters`);
    }
    return value;
  }

  /** A string that others repeat, in headers and addresses too: no half of a surrogate pair stands alone in it. */
  name(name: string, charsMax: number): string {
    const value = this.string(name, charsMax);
    return value.isWellFormed() ? value : this.fail(name, 'well-formed Unicode');
  }

  optionalString(name: string, charsMax: number): string | undefined {
    return this.has(name) ? this.string(name, charsMax) : undefined;
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#record[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      this.fail(name, `a whole number from ${min} to ${max}`);
    }
    return value;
  }

  number(name: string, min: number, max: number): number {
    const value = this.#record[name];
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      this.fail(name, `a number from ${min} to ${max}`);
    }
    return value;
  }

  optionalInteger(name: string, min: number, max: number): number | undefined {
    return this.has(name) ? this.integer(name, min, max) : undefined;
  }

  boolean(name: string): boolean {
    const value = this.#record[name];
    if (typeof value !== 'boolean') this.fail(name, 'true or false');
    return value;
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const value = this.#record[name];
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) this.fail(name, `one of ${choices.join(', ')}`);
    return choice;
  }

  record(name: string): JsonRecord {
    const value = this.#record[name];
    if (!isRecord(value)) this.fail(name, 'an object');
    return value;
  }

  list(name: string, itemsMax: number): readonly unknown[] {
    const value = this.#record[name];
    if (!Array.isArray(value) || value.length > itemsMax) this.fail(name, `a list of at most ${itemsMax}`);
    return value;
  }

  integers(name: string, itemsMax: number, min: number, max: number): readonly number[] {
    return this.list(name, itemsMax).map((item) => {
      if (typeof item === 'number' && Number.isSafeInteger(item) && item >= min && item <= max) return item;
      return this.fail(name, `a list of whole numbers from ${min} to ${max}`);
    });
  }

  /** A list of objects, each read by `read`. */
  records<Item>(name: string, itemsMax: number, read: (item: FieldReader) => Item): readonly Item[] {
    return this.list(name, itemsMax).map((item, index) => {
      if (!isRecord(item)) this.fail(`${name}[${index}]`, 'an object');
      return read(new FieldReader(item, this.#code, `${this.#what}: ${name}[${index}]`));
    });
  }
}
