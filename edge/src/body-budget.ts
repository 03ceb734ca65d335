/**
 * Request bodies in memory: how large one may be, and how many bytes all of them may hold in this isolate at once.
 * A body that does not fit is refused before it is read.
 */

import { joinBytes } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { bodyBytesInFlightMax, discardBytesMax } from '@cognitora/protocol/limits';

/** Bytes held per live body; the sum is derived from it. */
const held = new Map<symbol, number>();
let heldBytes = 0;

const hold = (body: symbol, bytes: number): void => {
  if (heldBytes - (held.get(body) ?? 0) + bytes > bodyBytesInFlightMax) {
    throw new CognitoraError('over_budget', 'Too many request bytes are in flight. Try again shortly.', {
      retryAfterSeconds: 1,
    });
  }
  heldBytes += bytes - (held.get(body) ?? 0);
  held.set(body, bytes);
};

export interface HeldBody {
  readonly bytes: Uint8Array;
  /** Call once the bytes are no longer needed; twice means nothing. */
  release(): void;
}

const tooLarge = (bytesMax: number): CognitoraError =>
  new CognitoraError('body_too_large', `The request body may have at most ${bytesMax} bytes.`);

/** Reads a request's body. Throws `body_too_large` or `over_budget`. */
export const readBody = async (request: Request, bytesMax: number): Promise<HeldBody> => {
  const body = Symbol('body');
  const release = (): void => {
    heldBytes -= held.get(body) ?? 0;
    held.delete(body);
  };
  try {
    const announced = Number(request.headers.get('content-length') ?? Number.NaN);
    if (announced > bytesMax) throw tooLarge(bytesMax);
    if (Number.isSafeInteger(announced) && announced >= 0) {
      hold(body, announced);
      return { bytes: new Uint8Array(await request.arrayBuffer()), release };
    }
    const parts: Uint8Array[] = [];
    let total = 0;
    for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
      total += part.length;
      if (total > bytesMax + discardBytesMax) break;
      // Too large already: what still comes is read and not kept, see `discardBody`.
      if (total > bytesMax) continue;
      hold(body, total);
      parts.push(part);
    }
    if (total > bytesMax) throw tooLarge(bytesMax);
    return { bytes: joinBytes(parts), release };
  } catch (thrown) {
    release();
    if (thrown instanceof CognitoraError) throw thrown;
    throw new CognitoraError('client_gone', 'The request body broke off.');
  }
};

/**
 * Reads what the client still sends of a refused request, and keeps none of it: a connection that closes on unread
 * bytes is reset, and most clients would see that instead of the refusal. Bounded; beyond it the reset it is.
 */
export const discardBody = async (request: Request): Promise<void> => {
  if (request.body === null || request.bodyUsed) return;
  let total = 0;
  try {
    for await (const part of request.body as AsyncIterable<Uint8Array>) {
      total += part.length;
      if (total > discardBytesMax) return;
    }
  } catch {
    // The client broke off itself.
  }
};
