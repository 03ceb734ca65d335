/**
 * A trace small enough for the repository, without loss. Block ids are chained and numbered by first appearance, so a
 * request's ids are the first ones of an earlier request's, and then new ones. Pure. One request a line, whole numbers:
 *
 *   ms since the one before, input tokens, output tokens, which request back (0: none), blocks of that one, new blocks
 */
import { TraceError, type TraceRequest } from './trace-request.ts';

const fieldsPerLine = 6;

interface Position {
  /** The first request that had this block, and how many blocks it had up to and with it. */
  readonly request: number;
  readonly depth: number;
}

export const packTrace = (requests: readonly TraceRequest[]): string => {
  const firstSeen = new Map<number, Position>();
  let beforeMs = 0;
  const lines = requests.map(({ atMs, inputTokens, outputTokens, blocks }, index) => {
    let known = 0;
    while (known < blocks.length && firstSeen.has(blocks[known] ?? -1)) known += 1;
    const from = firstSeen.get(blocks[known - 1] ?? -1);
    for (const [at, id] of blocks.entries()) {
      if (!firstSeen.has(id)) firstSeen.set(id, { request: index, depth: at + 1 });
    }
    const sinceMs = Math.round(atMs) - beforeMs;
    beforeMs = Math.round(atMs);
    const back = from === undefined ? 0 : index - from.request;
    return [sinceMs, inputTokens, outputTokens, back, from?.depth ?? 0, blocks.length - known].join(' ');
  });
  return `${lines.join('\n')}\n`;
};

const numbersOf = (line: string, index: number): readonly number[] => {
  const numbers = line.split(' ').map(Number);
  if (
    numbers.length === fieldsPerLine &&
    numbers.every((value) => Number.isSafeInteger(value) && value >= 0)
  ) {
    return numbers;
  }
  throw new TraceError(`line ${index + 1}: a packed request is ${fieldsPerLine} whole numbers`);
};

export const unpackTrace = (text: string): readonly TraceRequest[] => {
  const requests: TraceRequest[] = [];
  let atMs = 0;
  let nextId = 0;
  for (const [index, line] of text.trimEnd().split('\n').entries()) {
    const [sinceMs = 0, inputTokens = 0, outputTokens = 0, back = 0, kept = 0, added = 0] = numbersOf(
      line,
      index,
    );
    const earlier = back === 0 ? [] : (requests[index - back]?.blocks ?? []);
    if (kept > earlier.length)
      throw new TraceError(`line ${index + 1}: no earlier request has ${kept} such blocks`);
    const blocks = earlier.slice(0, kept);
    for (let made = 0; made < added; made += 1) blocks.push(nextId++);
    atMs += sinceMs;
    requests.push({ atMs, inputTokens, outputTokens, blocks });
  }
  return requests;
};
