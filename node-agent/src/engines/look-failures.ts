/** How a look at an engine fails, what that says of the engine, and when the next one comes. Pure. */
import { CognitoraError } from '@cognitora/protocol/errors';

/** Who says 429 and not for how long is asked again after this. */
const waitMsDefault = 30_000;
/** No engine is left unasked for longer, whatever it says. */
const waitMsMax = 5 * 60_000;

/** `Retry-After` in seconds; a date counts as nothing said, since the clock is another one. */
const waitOf = (retryAfter: unknown): number => {
  const seconds =
    typeof retryAfter === 'string' && /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) : undefined;
  if (seconds === undefined) return waitMsDefault;
  return Math.min(Math.max(seconds, 1) * 1_000, waitMsMax);
};

export class LookRefused extends Error {
  readonly isFinal: boolean;
  /** An error of its own, as of a proxy whose engine is gone. */
  readonly isFault: boolean;
  /** It was asked too often: this long it is left alone. Undefined: the next look comes as ever. */
  readonly waitMs: number | undefined;

  constructor(path: string, statusCode: number, retryAfter: unknown) {
    super(`GET ${path} answered ${statusCode}`);
    this.isFinal = [401, 403, 404].includes(statusCode);
    this.isFault = statusCode >= 500;
    this.waitMs = statusCode === 429 ? waitOf(retryAfter) : undefined;
  }
}

export const isLate = (thrown: unknown): boolean =>
  thrown instanceof DOMException && thrown.name === 'TimeoutError';

/** Whether a look that failed shows somebody who lives all the same: a refusal, or an answer that is no list. */
export const isSignOfLife = (thrown: unknown): boolean =>
  thrown instanceof LookRefused ? !thrown.isFault : thrown instanceof CognitoraError;

/** In words; where several addresses of a name failed, the error itself has none. */
export const reasonOf = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.message || ('code' in thrown ? String(thrown.code) : thrown.name);
};
