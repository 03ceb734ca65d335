/**
 * One small question to an engine beside its requests: bounded in time and in the length of the answer, off the hot
 * path. Says what came back, never what it means.
 */
import { type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { type Engine, readBounded } from './engine.ts';

/** An engine whose slots are all busy still answers such questions; one that swaps takes its time. */
const askMsMax = 10_000;
/** A long prompt's tokens as JSON. */
const answerBytesMax = 8 * 1024 * 1024;

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Undefined when the answer is no JSON object. */
  readonly record: JsonRecord | undefined;
}

/** Asks by POST when there is something to say, else by GET. Rejects when the engine does not answer. */
export type Ask = (path: string, body?: JsonRecord) => Promise<Answer>;

export interface AskBounds {
  readonly msMax?: number;
  readonly bytesMax?: number;
}

export const asker =
  (engine: Engine, { msMax = askMsMax, bytesMax = answerBytesMax }: AskBounds = {}): Ask =>
  async (path, asked) => {
    const { statusCode, body } = await engine.pool.request({
      method: asked === undefined ? 'GET' : 'POST',
      path: engine.pathOf(path),
      headers: { ...engine.headers, 'content-type': 'application/json' },
      ...(asked === undefined ? {} : { body: JSON.stringify(asked) }),
      signal: AbortSignal.timeout(msMax),
    });
    const text = new TextDecoder().decode(await readBounded(body, bytesMax));
    return {
      status: statusCode,
      text,
      // Parsed only when it is asked for: a page of metrics is no JSON.
      get record() {
        return jsonRecordIn(text);
      },
    };
  };
