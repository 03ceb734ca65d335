/**
 * What the load generator's process is asked and answers. Times are milliseconds unless they say otherwise.
 */

export interface LoadTarget {
  readonly host: string;
  readonly port: number;
  /** Of the chat completions; `%` in it stands for the model of a connection. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface LoadPlan {
  readonly target: LoadTarget;
  /** Connection n asks for `models[n % models.length]`. */
  readonly models: readonly string[];
  /** Each connection runs one request at a time. */
  readonly connections: number;
  /** Per connection. */
  readonly requests: number;
  readonly events: number;
  readonly intervalMs: number;
  /** The first requests of the connections are spread evenly over this time, so that they are no herd. */
  readonly spreadMs: number;
  /** Report the arrival time of each event, to count those of a window. */
  readonly keepArrivals?: boolean;
}

export interface LoadResult {
  /** From the written request to the first byte of SSE data. */
  readonly ttftMs: readonly number[];
  /** From the written request to the end of the response. */
  readonly totalMs: readonly number[];
  /** From the engine's write of an event, the first of a stream left out, to its last byte here. */
  readonly chunkDelayMs: readonly number[];
  /** Between two events of a stream. */
  readonly gapMs: readonly number[];
  /** Microseconds of the machine's monotonic clock; empty unless asked for. */
  readonly arrivalsUs: Float64Array;
  readonly requests: number;
  /** When the first response ended, by the same clock; undefined when none did. */
  readonly firstEndUs: number | undefined;
  readonly eventsReceived: number;
  /** What went wrong, by kind; a bench with any of these has no figures to show. */
  readonly failures: readonly string[];
  readonly elapsedMs: number;
}
