/** One request of a trace, and the complaint about a wrong one. Types only. */

/** What is wrong with a trace, and where. */
export class TraceError extends Error {}

export interface TraceRequest {
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Prefix-chained block ids: an equal id means that the block and all before it are equal. */
  readonly blocks: readonly number[];
}
