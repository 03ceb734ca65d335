/**
 * A result that crosses an RPC between the Worker and its objects: a thrown error would lose its class on the way. Both
 * ends use these two: `refusal` where the error is, `unwrap` where it is needed again, with all its fields.
 */
import { CognitoraError, type ErrorCode, type ErrorExtra } from '@cognitora/protocol/errors';

export type Outcome<Value> = { readonly value: Value } | { readonly refused: Refusal };

interface Refusal extends ErrorExtra {
  readonly code: ErrorCode;
  readonly message: string;
}

export const refusal = (error: CognitoraError): Outcome<never> => {
  const { code, message, param, retryAfterSeconds, route, node, isAway } = error;
  return {
    refused: {
      code,
      message,
      ...(param === undefined ? {} : { param }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      ...(route === undefined ? {} : { route }),
      ...(node === undefined ? {} : { node }),
      ...(isAway && { isAway }),
    },
  };
};

/** The value, or the refusal thrown as what it was. */
export const unwrap = <Value>(outcome: Outcome<Value>): Value => {
  if ('value' in outcome) return outcome.value;
  const { code, message, ...extra } = outcome.refused;
  throw new CognitoraError(code, message, extra);
};
