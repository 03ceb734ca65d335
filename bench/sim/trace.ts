/**
 * Request traces: one JSON object a line with `timestamp`, `input_length`, `output_length` and `hash_ids`, plain or
 * `.gz`, or packed as packed-trace.ts has it. Reads and checks them, and derives what a trace allows: the hit ratio of
 * one infinite cache (its ceiling) and its prefill work.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { messageOf } from '@cognitora/protocol/errors';
import { prefillMs } from './constants.ts';
import { unpackTrace } from './packed-trace.ts';
import { TraceError, type TraceRequest } from './trace-request.ts';

export interface Trace {
  readonly name: string;
  readonly blockTokens: number;
  readonly requests: readonly TraceRequest[];
  /** Input tokens that an infinite cache shared by all would hold already, as a share of all input tokens. */
  readonly ceiling: number;
  /** Prefill time of all requests on one engine without a single hit, ms. */
  readonly prefillWorkMs: number;
  readonly spanMs: number;
}

const numberIn = (line: number, fields: Readonly<Record<string, unknown>>, name: string): number => {
  const value = fields[name];
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new TraceError(`line ${line}: "${name}" must be a number that is not negative`);
};

const parseLine = (text: string, line: number): TraceRequest => {
  let fields: Readonly<Record<string, unknown>>;
  try {
    fields = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    throw new TraceError(`line ${line}: not a JSON object`);
  }
  const blocks = fields.hash_ids ?? [];
  if (!Array.isArray(blocks) || !blocks.every((id) => Number.isSafeInteger(id))) {
    throw new TraceError(`line ${line}: "hash_ids" must be a list of integers`);
  }
  return {
    atMs: numberIn(line, fields, 'timestamp'),
    inputTokens: Math.max(1, numberIn(line, fields, 'input_length')),
    outputTokens: Math.max(1, numberIn(line, fields, 'output_length')),
    blocks: blocks as number[],
  };
};

/** The block size that the lengths show: all blocks but the last are full; some traces leave a partial last one out. */
const blockTokensOf = (requests: readonly TraceRequest[]): number => {
  for (const size of [16, 32, 64, 128, 256, 512, 1024]) {
    const fits = requests.every(({ inputTokens, blocks }) => {
      const partial = Math.ceil(inputTokens / size) - blocks.length;
      return blocks.length === 0 || partial === 0 || partial === 1;
    });
    if (fits) return size;
  }
  throw new TraceError('no block size fits the lengths of "input_length" and "hash_ids"');
};

/** Tokens of the first `blocks` blocks of a request. */
export const tokensOfBlocks = (request: TraceRequest, blocks: number, blockTokens: number): number =>
  Math.min(blocks * blockTokens, request.inputTokens);

const ceilingOf = (requests: readonly TraceRequest[], blockTokens: number): number => {
  const seen = new Set<number>();
  let hit = 0;
  let total = 0;
  for (const request of requests) {
    let depth = 0;
    while (depth < request.blocks.length && seen.has(request.blocks[depth] ?? -1)) depth += 1;
    hit += tokensOfBlocks(request, depth, blockTokens);
    total += request.inputTokens;
    for (const id of request.blocks) seen.add(id);
  }
  return hit / total;
};

/** Checks requests in any order, and derives what they allow. */
export const traceOf = (name: string, unsorted: readonly TraceRequest[]): Trace => {
  const requests = [...unsorted].sort((left, right) => left.atMs - right.atMs);
  const last = requests.at(-1);
  if (last === undefined) throw new TraceError('the trace is empty: it needs one JSON object a line');
  const blockTokens = blockTokensOf(requests);
  const work = requests.map(({ inputTokens }) => prefillMs(inputTokens, inputTokens, 0));
  return {
    name,
    blockTokens,
    requests,
    ceiling: ceilingOf(requests, blockTokens),
    prefillWorkMs: work.reduce((sum, ms) => sum + ms, 0),
    spanMs: Math.max(1, last.atMs - (requests[0]?.atMs ?? 0)),
  };
};

const textOf = (path: string): string => {
  const bytes = readFileSync(path);
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
};

export const readTrace = (path: string): Trace => {
  try {
    const text = textOf(path);
    const name = path.replace(/^.*\//, '').replace(/\.(?:jsonl(?:\.gz)?|packed\.txt)$/, '');
    if (path.endsWith('.packed.txt')) return traceOf(name, unpackTrace(text));
    const lines = text.split('\n');
    const requests = lines.flatMap((line, index) => (line.trim() === '' ? [] : [parseLine(line, index + 1)]));
    return traceOf(name, requests);
  } catch (thrown) {
    throw new TraceError(`${path}: ${messageOf(thrown)}`);
  }
};
