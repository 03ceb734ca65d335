/** When a refused client had better come again, as `Retry-After` says it. */
import { retryAfterSecondsMax } from '@cognitora/protocol/limits';

/** Whole seconds, at least one: what is sooner than that is now. */
export const retryAfterOf = (ms: number): number =>
  Math.max(1, Math.min(retryAfterSecondsMax, Math.ceil(ms / 1_000)));
