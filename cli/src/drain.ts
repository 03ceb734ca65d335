/** Waits until a cordoned node serves nothing any more. Time comes in; looks and words are the caller's. */

export interface DrainOptions {
  /** How many requests the node serves now. */
  readonly look: () => Promise<number>;
  readonly msMax: number;
  readonly nowMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
  /** Called with each look. */
  readonly tell: (live: number, leftMs: number) => void;
}

/** A person sees numbers change; the edge hardly notices. */
export const drainLookMs = 500;

/** The requests that are left: 0 once it is drained, more when the time is up. */
export const untilDrained = async (options: DrainOptions): Promise<number> => {
  const { look, msMax, nowMs, pause, tell } = options;
  const endMs = nowMs() + msMax;
  for (;;) {
    const live = await look();
    const leftMs = endMs - nowMs();
    tell(live, Math.max(0, leftMs));
    if (live === 0 || leftMs <= 0) return live;
    await pause(Math.min(drainLookMs, leftMs));
  }
};
