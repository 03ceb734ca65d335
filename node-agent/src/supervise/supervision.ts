/**
 * When an engine is started, started again, asked to end, killed or given up: a state machine over (state, event,
 * time). Pure; `launched-source.ts` does what it says. Invariant: a process is asked for only where there is none.
 *
 *   starting -> loading <-> ready        any of them, when it ends -> backing-off -> starting
 *   loading, ready -> draining -> stopped                          -> gave-up, until asked again
 *   loading (too long), ready (hung) -> ending, as any when it ends
 *
 * A start that is under way when a stop comes is `stopped` at once: who prepares it looks before it spawns.
 */
import type { LaunchState } from '@cognitora/protocol/agent-status';
import { crashesMax, crashWindowMs, livedMsMin, restartMsMax, restartMsMin, stopMsMax } from './limits.ts';

export interface Supervision {
  readonly state: LaunchState;
  /** How long a process may load before it was ready for the first time. */
  readonly loadingMsMax: number;
  /** When the process that runs was started; undefined: none runs. */
  readonly bornMs: number | undefined;
  /** Starts beyond the first one. */
  readonly restarts: number;
  /** Ends in a row, each soon after its start: what the next delay grows by. */
  readonly falls: number;
  /** When processes ended that had not lived, as far as that counts for giving up. */
  readonly crashedMs: readonly number[];
  /** When the next thing happens by itself: a start, the end of the time to load, or a kill. */
  readonly dueMs: number | undefined;
}

export type SupervisionEvent =
  /** Somebody wants it to run: at the beginning, or after it gave up. */
  | 'asked'
  | 'spawned'
  /** The process ended, or could not be started. */
  | 'ended'
  /** What its URL shows. */
  | 'healthy'
  | 'unhealthy'
  /** No sign of life for long, though the process is there. */
  | 'hung'
  /** Nobody new comes; whoever is there is served to the end. */
  | 'drain'
  /** Nobody uses it. */
  | 'stop'
  /** Time passed. */
  | 'tick';

export type SupervisionAction = 'spawn' | 'terminate' | 'kill';

export interface Step {
  readonly next: Supervision;
  readonly action: SupervisionAction | undefined;
}

export const unstarted = (loadingMsMax: number): Supervision => ({
  state: 'stopped',
  loadingMsMax,
  bornMs: undefined,
  restarts: -1,
  falls: 0,
  crashedMs: [],
  dueMs: undefined,
});

const isAlive = ({ bornMs }: Supervision): boolean => bornMs !== undefined;

const still = (next: Supervision): Step => ({ next, action: undefined });

const start = (from: Supervision): Step => ({
  next: { ...from, state: 'starting', restarts: from.restarts + 1, dueMs: undefined },
  action: 'spawn',
});

/** After a process ended that nobody asked to. */
const fallen = (from: Supervision, nowMs: number): Step => {
  const livedMs = from.bornMs === undefined ? 0 : nowMs - from.bornMs;
  const crashedMs =
    livedMs >= livedMsMin ? [] : [...from.crashedMs.filter((atMs) => nowMs - atMs < crashWindowMs), nowMs];
  const before = livedMs >= crashWindowMs ? 0 : from.falls;
  const gone = { ...from, bornMs: undefined, falls: before + 1, crashedMs };
  if (crashedMs.length >= crashesMax) return still({ ...gone, state: 'gave-up', dueMs: undefined });
  // The exponent is bounded, or it would count for ever.
  const delayMs = Math.min(restartMsMax, restartMsMin * 2 ** Math.min(before, 16));
  return still({ ...gone, state: 'backing-off', dueMs: nowMs + delayMs });
};

const ended = (from: Supervision, nowMs: number): Step => {
  if (!isAlive(from) && from.state !== 'starting') return still(from);
  if (from.state === 'draining') {
    return still({ ...from, state: 'stopped', bornMs: undefined, dueMs: undefined });
  }
  return fallen(from, nowMs);
};

/** It is asked, and killed when its time for that is up. */
const terminate = (from: Supervision, state: 'draining' | 'ending', nowMs: number): Step => ({
  next: { ...from, state, dueMs: nowMs + stopMsMax },
  action: 'terminate',
});

const stop = (from: Supervision, nowMs: number): Step => {
  if (!isAlive(from)) return still({ ...from, state: 'stopped', dueMs: undefined });
  if (from.state === 'draining' && from.dueMs !== undefined) return still(from);
  if (from.state === 'ending') return still({ ...from, state: 'draining' });
  return terminate(from, 'draining', nowMs);
};

const tick = (from: Supervision, nowMs: number): Step => {
  if (from.dueMs === undefined || nowMs < from.dueMs) return still(from);
  if (from.state === 'backing-off') return start(from);
  if (from.state === 'loading') return terminate(from, 'ending', nowMs);
  // Once is enough; what does not go then hangs in a driver.
  return { next: { ...from, dueMs: undefined }, action: 'kill' };
};

const drain = (from: Supervision): Supervision => {
  if (!isAlive(from)) return { ...from, state: 'stopped', dueMs: undefined };
  // The time to load is no time to drain; one that is ending has been asked already.
  const dueMs = from.state === 'loading' ? undefined : from.dueMs;
  return { ...from, state: 'draining', dueMs };
};

export const advance = (from: Supervision, event: SupervisionEvent, nowMs: number): Step => {
  switch (event) {
    case 'asked': {
      const isResting = from.state === 'stopped' || from.state === 'gave-up';
      return isResting ? start({ ...from, falls: 0, crashedMs: [] }) : still(from);
    }
    case 'spawned':
      if (from.state !== 'starting') return still(from);
      return still({ ...from, state: 'loading', bornMs: nowMs, dueMs: nowMs + from.loadingMsMax });
    case 'ended':
      return ended(from, nowMs);
    case 'healthy':
      return still(from.state === 'loading' ? { ...from, state: 'ready', dueMs: undefined } : from);
    case 'unhealthy':
      return still(from.state === 'ready' ? { ...from, state: 'loading' } : from);
    case 'hung':
      if (from.state !== 'ready' && from.state !== 'loading') return still(from);
      return terminate(from, 'ending', nowMs);
    case 'drain':
      return still(drain(from));
    case 'stop':
      return stop(from, nowMs);
    case 'tick':
      return tick(from, nowMs);
  }
};
