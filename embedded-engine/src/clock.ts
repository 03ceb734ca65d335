/** The only place that reads time. Everything else is given a `Clock`, so that tests can hold it still. */

export interface Clock {
  /** Seconds since 1970, for `created` and event time stamps. */
  unixSeconds(): number;
  /** Milliseconds from an arbitrary start, never going back: for durations. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  unixSeconds: () => Date.now() / 1000,
  monotonicMs: () => performance.now(),
};
