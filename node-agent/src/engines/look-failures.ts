/** How a look at an engine fails, and what that says of the engine. Pure. */
import { CognitoraError } from '@cognitora/protocol/errors';

export class LookRefused extends Error {
  readonly isFinal: boolean;
  /** An error of its own, as of a proxy whose engine is gone. */
  readonly isFault: boolean;

  constructor(path: string, statusCode: number) {
    super(`GET ${path} answered ${statusCode}`);
    this.isFinal = [401, 403, 404].includes(statusCode);
    this.isFault = statusCode >= 500;
  }
}

export const isLate = (thrown: unknown): boolean =>
  thrown instanceof DOMException && thrown.name === 'TimeoutError';

/** Whether a look that failed shows somebody who lives all the same: a refusal, or an answer that is no list. */
export const isSignOfLife = (thrown: unknown): boolean =>
  thrown instanceof LookRefused ? !thrown.isFault : thrown instanceof CognitoraError;
