/**
 * The closed table of fields: a request body is read by one table that names every field an endpoint knows.
 * Each field is implemented or refused; a field that is not in the table is refused by name. Nothing is
 * ignored silently. A reader gets `undefined` for an absent field; `null` counts as absent, as in OpenAI's
 * API.
 */
import { badJson, invalid, unsupported } from './errors.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export type Reader<T> = (value: Json | undefined, name: string) => T;
export type Table = Readonly<Record<string, Reader<unknown>>>;
export type Fields<T extends Table> = { readonly [K in keyof T]: ReturnType<T[K]> };

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses a request body into a JSON object; the only place in the room that parses a client's JSON. */
export function parseBody(text: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    throw badJson('The request body is not valid JSON.');
  }
  if (!isObject(value)) throw badJson('The request body must be a JSON object.');
  return value;
}

/** Reads `body` with `table`; `prefix` is put before field names in errors, for nested objects. */
export function readFields<T extends Table>(table: T, body: JsonObject, prefix = ''): Fields<T> {
  for (const name of Object.keys(body)) {
    if (!Object.hasOwn(table, name)) {
      throw unsupported(prefix + name, `The field "${prefix}${name}" is not supported by this engine.`);
    }
  }
  const result: Record<string, unknown> = {};
  for (const [name, reader] of Object.entries(table)) {
    const value = Object.hasOwn(body, name) ? body[name] : undefined;
    result[name] = reader(value === null ? undefined : value, prefix + name);
  }
  return result as Fields<T>;
}

export function required<T>(reader: Reader<T | undefined>): Reader<T> {
  return (value, name) => {
    const result = reader(value, name);
    if (result === undefined) throw invalid(name, `The field "${name}" is required.`);
    return result;
  };
}

export function withDefault<T>(reader: Reader<T | undefined>, fallback: T): Reader<T> {
  return (value, name) => reader(value, name) ?? fallback;
}

export function number(min: number, max: number): Reader<number | undefined> {
  return (value, name) => {
    if (value === undefined) return undefined;
    if (typeof value === 'number' && value >= min && value <= max) return value;
    throw invalid(name, `"${name}" must be a number from ${min} to ${max}.`);
  };
}

export function integer(min: number, max: number): Reader<number | undefined> {
  return (value, name) => {
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw invalid(name, `"${name}" must be a whole number from ${min} to ${max}.`);
  };
}

export const boolean: Reader<boolean | undefined> = (value, name) => {
  if (value === undefined || typeof value === 'boolean') return value;
  throw invalid(name, `"${name}" must be true or false.`);
};

export const string: Reader<string | undefined> = (value, name) => {
  if (value === undefined || typeof value === 'string') return value;
  throw invalid(name, `"${name}" must be a string.`);
};

export const object: Reader<JsonObject | undefined> = (value, name) => {
  if (value === undefined || isObject(value)) return value;
  throw invalid(name, `"${name}" must be an object.`);
};

export const array: Reader<readonly Json[] | undefined> = (value, name) => {
  if (value === undefined || Array.isArray(value)) return value;
  throw invalid(name, `"${name}" must be an array.`);
};

/** A field that carries information for the caller's own books and asks the engine for nothing. */
export const metadata: Reader<undefined> = () => undefined;

/** A field that the engine can't serve, unless its value asks for nothing: absent, or one of `harmless`. */
export function refused(why: string, ...harmless: readonly Json[]): Reader<undefined> {
  return (value, name) => {
    if (value === undefined || harmless.some((allowed) => isSame(allowed, value))) return undefined;
    throw unsupported(name, `"${name}": ${why}`);
  };
}

function isSame(left: Json, right: Json): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
