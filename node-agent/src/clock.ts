/** The one place that reads the time: the wall clock for what crosses machines, a monotonic one for durations. */

export interface Clock {
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Milliseconds that never go back; only differences mean anything. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** As log lines carry it. */
export const isoTime = (wallMs: number): string => new Date(wallMs).toISOString();
