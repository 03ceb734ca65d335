/**
 * `response_format`: plain text, any JSON object, or JSON of a schema. A schema is checked against the
 * keywords that the grammar enforces; any other keyword is refused, because ignoring it would break a
 * promise. What the grammar adds on its own is only stricter: all listed properties are always written.
 */
import * as limits from '../limits.ts';
import { invalid, unsupported } from './errors.ts';
import * as f from './fields.ts';

export type OutputFormat =
  | { readonly kind: 'text' }
  | { readonly kind: 'json' }
  | { readonly kind: 'schema'; readonly schema: f.JsonObject };

const annotations = ['title', 'description', '$schema', '$id', 'examples', 'default', '$comment'] as const;
const basicTypes = ['string', 'number', 'integer', 'boolean', 'null'];
const keywordsByType: Readonly<Record<string, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'format'],
};
const stringFormats = ['date-time', 'time', 'date'];

function refuseKeywords(schema: f.JsonObject, known: readonly string[], where: string): void {
  for (const key of Object.keys(schema)) {
    if (known.includes(key) || annotations.some((name) => name === key)) continue;
    throw unsupported('response_format', `${where}: the schema keyword "${key}" is not supported here.`);
  }
}

const counted = ['minLength', 'maxLength', 'minItems', 'maxItems', 'minProperties', 'maxProperties'];

function checkCounts(schema: f.JsonObject, where: string): void {
  for (const key of counted) {
    const count = schema[key];
    if (count === undefined) continue;
    if (Number.isInteger(count) && Number(count) >= 0 && Number(count) <= limits.schemaRepetitionsMax)
      continue;
    throw unsupported(
      'response_format',
      `${where}: "${key}" must be a whole number up to ${limits.schemaRepetitionsMax}.`,
    );
  }
}

function literal(value: f.Json | undefined): boolean {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

interface Scope {
  readonly definitions: ReadonlySet<string>;
  readonly depth: number;
}

function checkMap(value: f.Json | undefined, where: string, scope: Scope): f.JsonObject {
  const entries = Object.entries(f.object(value, 'response_format') ?? {});
  return Object.fromEntries(entries.map(([key, entry]) => [key, check(entry, `${where}.${key}`, scope)]));
}

function checkList(value: f.Json | undefined, where: string, scope: Scope): f.Json[] {
  const list = f.array(value, 'response_format') ?? [];
  return list.map((entry, at) => check(entry, `${where}[${at}]`, scope));
}

function checkTyped(schema: f.JsonObject, type: string, where: string, scope: Scope): f.JsonObject {
  refuseKeywords(schema, ['type', '$defs', ...(keywordsByType[type] ?? [])], where);
  checkCounts(schema, where);
  if (type === 'string') {
    if (schema.format !== undefined && !stringFormats.some((format) => format === schema.format)) {
      throw unsupported('response_format', `${where}: the string format is not supported here.`);
    }
    return schema;
  }
  const checked: Record<string, f.Json> = { ...schema };
  if (type === 'object') {
    if (schema.properties !== undefined) checked.properties = checkMap(schema.properties, where, scope);
    const additional = schema.additionalProperties;
    if (f.isObject(additional)) checked.additionalProperties = check(additional, where, scope);
  }
  if (type === 'array') {
    if (schema.items !== undefined) checked.items = check(schema.items, `${where}[]`, scope);
    if (schema.prefixItems !== undefined) checked.prefixItems = checkList(schema.prefixItems, where, scope);
  }
  return checked;
}

/** A schema that the grammar generator understands in full, or a refusal. */
function check(value: f.Json, where: string, outer: Scope): f.JsonObject {
  const scope = { ...outer, depth: outer.depth + 1 };
  if (!f.isObject(value))
    throw unsupported('response_format', `${where}: only object schemas are supported.`);
  if (scope.depth > limits.schemaDepthMax) throw invalid('response_format', `${where}: nested too deeply.`);
  if (value.$ref !== undefined) {
    refuseKeywords(value, ['$ref', '$defs'], where);
    const name = typeof value.$ref === 'string' ? /^#\/\$defs\/(.+)$/.exec(value.$ref)?.[1] : undefined;
    if (name !== undefined && scope.definitions.has(name)) return { $ref: `#/$defs/${name}` };
    throw unsupported('response_format', `${where}: "$ref" must name an entry of the root's "$defs".`);
  }
  for (const key of ['oneOf', 'anyOf'] as const) {
    if (value[key] === undefined) continue;
    refuseKeywords(value, [key, '$defs'], where);
    return { oneOf: checkList(value[key], where, scope) };
  }
  if (value.const !== undefined && literal(value.const)) {
    refuseKeywords(value, ['const', 'type'], where);
    return { const: value.const };
  }
  if (Array.isArray(value.enum) && value.enum.length > 0 && value.enum.every(literal)) {
    refuseKeywords(value, ['enum', 'type'], where);
    return { enum: value.enum };
  }
  if (typeof value.type === 'string' && (basicTypes.includes(value.type) || value.type in keywordsByType)) {
    return checkTyped(value, value.type, where, scope);
  }
  if (Array.isArray(value.type) && value.type.every((type) => basicTypes.includes(String(type)))) {
    refuseKeywords(value, ['type'], where);
    return value;
  }
  throw unsupported(
    'response_format',
    `${where}: a schema needs a supported "type", "enum", "const" or "$ref".`,
  );
}

function checkSchema(schema: f.JsonObject): f.JsonObject {
  const definitions = f.object(schema.$defs, 'response_format') ?? {};
  const scope: Scope = { definitions: new Set(Object.keys(definitions)), depth: 0 };
  const checked = check(schema, 'schema', scope);
  if (scope.definitions.size === 0) return checked;
  return { ...checked, $defs: checkMap(definitions, '$defs', scope) };
}

export const responseFormat: f.Reader<OutputFormat> = (value, name) => {
  if (value === undefined) return { kind: 'text' };
  const format = f.object(value, name) ?? {};
  const only = (...fields: string[]): void => {
    f.readFields(Object.fromEntries(fields.map((field) => [field, f.metadata])), format, `${name}.`);
  };
  if (format.type === 'text') {
    only('type');
    return { kind: 'text' };
  }
  if (format.type === 'json_object') {
    only('type');
    return { kind: 'json' };
  }
  if (format.type === 'json_schema') {
    only('type', 'json_schema');
    const fields = f.readFields(
      { name: f.string, description: f.metadata, strict: f.metadata, schema: f.required(f.object) },
      f.required(f.object)(format.json_schema, `${name}.json_schema`),
      `${name}.json_schema.`,
    );
    return { kind: 'schema', schema: checkSchema(fields.schema) };
  }
  throw unsupported(name, `"${name}.type" must be "text", "json_object" or "json_schema".`);
};
