/**
 * The closed table of edits: everything that Cognitora ever changes in a request's bytes, each one splice of one
 * byte range, with one owner, undone on the way back (`undo.ts`). The body is never parsed and written again, so
 * fields nobody has invented yet pass through.
 *
 * | edit    | owner | what changes                                              | undone by                         |
 * |---------|-------|-----------------------------------------------------------|-----------------------------------|
 * | `usage` | agent | adds `stream_options.include_usage` to a stream without it | dropping the usage event         |
 * | `model` | agent | public name -> the name the engine serves                  | served name -> the public name   |
 * | `continue` | agent | adds members by which the engine goes on from a part of its answer | no answer shows them |
 * | `progress` | agent | adds `return_progress` to a stream that tells of prefill | dropping the events that do |
 */
import { utf8 } from './bytes.ts';
import { scanMembers } from './members.ts';
import { isHidden, type Outline, refuseEscapes } from './outline.ts';
import { FieldReader, isRecord, type JsonRecord } from './shape.ts';

export const editNames = ['usage', 'model', 'continue', 'progress'] as const;
export type EditName = (typeof editNames)[number];

/** A byte range of the original body and what stands there instead. */
export interface Splice {
  readonly at: number;
  readonly removeBytes: number;
  readonly insert: Uint8Array;
}

/** Where in a body each edit would go, found by the edge and carried in OPEN: the agent need not scan the body. */
export interface RequestSpans {
  /** The value of `model`, quotes included: [start, end). */
  readonly model: readonly [start: number, end: number];
  /** How to make the engine report usage; absent when the request asks for it itself or does not stream. */
  readonly usage?: { readonly at: number; readonly removeBytes: number; readonly insert: string };
  /** The body ends with a part of the answer: behind its last member, where what makes an engine go on is put. */
  readonly continue?: number;
  /** Of a stream that does not say itself whether it wants to hear of prefill: behind the opening brace. */
  readonly progress?: number;
}

const withUsage = '"include_usage":true';

const usageSpan = ({ fields, objectStart, members: outer, slice }: Outline) => {
  if (fields.stream !== true) return undefined;
  const options = fields.stream_options;
  const found = outer.get('stream_options');
  if (found === undefined) {
    return { at: objectStart + 1, removeBytes: 0, insert: `"stream_options":{${withUsage}},` };
  }
  const { valueStart, valueEnd } = found;
  if (options === null) {
    return { at: valueStart, removeBytes: valueEnd - valueStart, insert: `{${withUsage}}` };
  }
  // Anything else that is no object is the engine's to refuse.
  if (!isRecord(options) || options.include_usage === true) return undefined;
  const { members } = scanMembers(slice(valueStart, valueEnd));
  for (const name of members.keys()) if (isHidden(name, ['include_usage'])) return refuseEscapes();
  const inner = members.get('include_usage');
  if (inner !== undefined) {
    return {
      at: valueStart + inner.valueStart,
      removeBytes: inner.valueEnd - inner.valueStart,
      insert: 'true',
    };
  }
  const comma = Object.keys(options).length === 0 ? '' : ',';
  return { at: valueStart + 1, removeBytes: 0, insert: `${withUsage}${comma}` };
};

const progressSpan = ({ fields, objectStart, members }: Outline): number | undefined =>
  fields.stream === true && !members.has('return_progress') ? objectStart + 1 : undefined;

/** Finds the spans of every edit. Throws `invalid_request` when a splice could not find its member. */
export const findSpans = (outline: Outline): RequestSpans => {
  const model = outline.members.get('model');
  if (model === undefined) return refuseEscapes();
  const usage = usageSpan(outline);
  const progress = progressSpan(outline);
  return {
    model: [model.valueStart, model.valueEnd],
    ...(usage === undefined ? {} : { usage }),
    ...(progress === undefined ? {} : { progress }),
  };
};

/** Reads the spans of an OPEN and holds them inside the body and apart, so that each splice finds its place. */
export const parseSpans = (record: JsonRecord, bodyBytes: number): RequestSpans => {
  const reader: FieldReader = new FieldReader(record, 'protocol_error', 'OPEN: spans');
  const [start, end, ...rest] = reader.list('model', 2);
  if (!isOffset(start) || !isOffset(end) || rest.length > 0) return reader.fail('model', 'a pair of offsets');
  if (start >= end || end > bodyBytes) reader.fail('model', 'a range inside the body');
  const usage = reader.has('usage') ? readUsageSplice(reader, [start, end], bodyBytes) : undefined;
  const removed = usage === undefined ? [] : [[usage.at, usage.at + usage.removeBytes] as const];
  const offset = (name: 'continue' | 'progress'): number | undefined => {
    const at = reader.has(name) ? reader.integer(name, 0, bodyBytes - 1) : undefined;
    for (const [from, to] of [[start, end] as const, ...removed]) {
      if (at !== undefined && at > from && at < to) reader.fail(name, 'outside what other edits replace');
    }
    return at;
  };
  const [goOn, progress] = [offset('continue'), offset('progress')];
  return {
    model: [start, end],
    ...(usage === undefined ? {} : { usage }),
    ...(goOn === undefined ? {} : { continue: goOn }),
    ...(progress === undefined ? {} : { progress }),
  };
};

const readUsageSplice = (spans: FieldReader, [start, end]: RequestSpans['model'], bodyBytes: number) => {
  const usage = new FieldReader(spans.record('usage'), 'protocol_error', 'OPEN: spans.usage');
  const at = usage.integer('at', 0, bodyBytes - 1);
  const removeBytes = usage.integer('removeBytes', 0, bodyBytes - at);
  if (at < end && at + removeBytes > start) usage.fail('at', 'outside the value of model');
  return { at, removeBytes, insert: usage.string('insert', 128) };
};

const isOffset = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

export interface EditChoice {
  readonly spans: RequestSpans;
  /** The name the engine serves, when it is not the public one. */
  readonly servedModel: string | undefined;
  readonly askForUsage: boolean;
  /** Members by which this engine goes on from its part of an answer; none: it does so without being told. */
  readonly continueMembers?: string | undefined;
  readonly askForProgress?: boolean;
}

/** The splices to apply, in order of position, never overlapping. */
export const chooseSplices = (choice: EditChoice): readonly Splice[] => {
  const { spans, servedModel, askForUsage, continueMembers = '', askForProgress = false } = choice;
  const splices: Splice[] = [];
  const [start, end] = spans.model;
  if (servedModel !== undefined) {
    splices.push({ at: start, removeBytes: end - start, insert: utf8(JSON.stringify(servedModel)) });
  }
  if (askForUsage && spans.usage !== undefined) {
    const { at, removeBytes, insert } = spans.usage;
    splices.push({ at, removeBytes, insert: utf8(insert) });
  }
  if (spans.continue !== undefined && continueMembers !== '') {
    splices.push({ at: spans.continue, removeBytes: 0, insert: utf8(`,${continueMembers}`) });
  }
  if (askForProgress && spans.progress !== undefined) {
    splices.push({ at: spans.progress, removeBytes: 0, insert: utf8('"return_progress":true,') });
  }
  return splices.sort((left, right) => left.at - right.at);
};

/** By how many bytes the splices change the body's length. */
export const addedBytes = (splices: readonly Splice[]): number =>
  splices.reduce((sum, splice) => sum + splice.insert.length - splice.removeBytes, 0);

/**
 * Applies splices to a body that arrives in pieces, holding nothing. `push` returns the pieces to send on, in order.
 */
export class Splicer {
  readonly #splices: readonly Splice[];
  #next = 0;
  #offset = 0;
  /** Original bytes still to drop for the splice that has begun. */
  #dropBytes = 0;

  constructor(splices: readonly Splice[]) {
    this.#splices = splices;
  }

  push(bytes: Uint8Array): readonly Uint8Array[] {
    if (this.#dropBytes === 0 && this.#next === this.#splices.length) return [bytes];
    const out: Uint8Array[] = [];
    let at = 0;
    for (;;) {
      const dropped = Math.min(this.#dropBytes, bytes.length - at);
      this.#dropBytes -= dropped;
      at += dropped;
      const splice = this.#splices[this.#next];
      const until = splice === undefined ? bytes.length : Math.min(splice.at - this.#offset, bytes.length);
      if (until > at) out.push(bytes.subarray(at, until));
      at = Math.max(at, until);
      if (splice === undefined || splice.at >= this.#offset + bytes.length || this.#dropBytes > 0) break;
      out.push(splice.insert);
      this.#dropBytes = splice.removeBytes;
      this.#next += 1;
    }
    this.#offset += bytes.length;
    return out;
  }
}
