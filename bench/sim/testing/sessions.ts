/** Small traces for tests: sessions whose turns repeat all that came before, or requests that share nothing. */
import { seededRandom } from '../random.ts';
import { type Trace, traceOf } from '../trace.ts';
import type { TraceRequest } from '../trace-request.ts';

export const blockTokens = 512;

/** So many sessions of so many turns; every turn adds up to four blocks to its session's prompt. */
export const sessionsTrace = (sessions: number, turns: number, seed = 1): Trace => {
  const random = seededRandom(seed);
  const requests: TraceRequest[] = [];
  let nextId = 0;
  for (let session = 0; session < sessions; session += 1) {
    const blocks: number[] = [];
    let atMs = random() * 10_000;
    for (let turn = 0; turn < turns; turn += 1) {
      const added = 1 + Math.floor(random() * 4);
      for (let made = 0; made < added; made += 1) blocks.push(nextId++);
      const inputTokens = blocks.length * blockTokens;
      requests.push({ atMs, inputTokens, outputTokens: 1 + Math.floor(random() * 100), blocks: [...blocks] });
      atMs += 1000 + random() * 5000;
    }
  }
  return traceOf('sessions', requests);
};

/** The same requests with blocks that no two of them have in common. */
export const strangersTrace = (requests: number, seed = 1): Trace => {
  const random = seededRandom(seed);
  return traceOf(
    'strangers',
    Array.from({ length: requests }, (_, index) => ({
      atMs: random() * 10_000,
      inputTokens: 2 * blockTokens,
      outputTokens: 20,
      blocks: [2 * index, 2 * index + 1],
    })),
  );
};
