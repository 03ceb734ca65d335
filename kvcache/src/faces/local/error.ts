/** Why a request on the daemon's socket was not done: one of the table's codes, and words that say what to do. */
import { CognitoraError, messageOf } from '@cognitora/protocol/errors';
import { type KvDaemonErrorCode, kvDaemonErrors } from '@cognitora/protocol/kv-daemon';

export class LocalError extends Error {
  readonly code: KvDaemonErrorCode;

  constructor(code: KvDaemonErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a handler threw, as its answer. A body or key that cannot be is the client's mistake; all else is ours. */
export const localErrorOf = (thrown: unknown): LocalError => {
  if (thrown instanceof LocalError) return thrown;
  if (thrown instanceof CognitoraError || thrown instanceof RangeError) {
    return new LocalError('bad_request', thrown.message);
  }
  return new LocalError('failed', messageOf(thrown));
};

export const statusOf = ({ code }: LocalError): number => kvDaemonErrors[code];
