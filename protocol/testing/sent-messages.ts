/** Messages of the link with their bytes and what reads them, for properties that hold for all of them. */
import fc from 'fast-check';
import { errorOf } from './bytes-in-pieces.ts';

export const word = fc.nat({ max: 2 ** 32 - 1 });
/** Pairs of low and high word. */
export const digests = (max: number): fc.Arbitrary<Uint32Array> =>
  fc.array(fc.tuple(word, word), { maxLength: max }).map((pairs) => Uint32Array.from(pairs.flat()));
export const name = fc.string({ minLength: 1, maxLength: 20, unit: 'binary' });

/** A message of any type with its bytes, and what reads them. */
export interface Sent {
  readonly message: object;
  readonly bytes: Uint8Array;
  readonly parse: (payload: Uint8Array) => object;
  /** Behind so many bytes its sections begin, when it has any. */
  readonly headBytes: number | undefined;
}

export const sentBy =
  <Message extends object>(
    encode: (message: Message) => Uint8Array,
    parse: (payload: Uint8Array) => Message,
    headBytes?: number,
  ): ((message: Message) => Sent) =>
  (message) => ({ message, bytes: encode(message), parse, headBytes });

/** Throws when the message is neither read nor refused as what breaks the protocol. */
export const outcome = (parse: () => object): 'read' | 'protocol_error' => {
  const code = errorOf(parse)?.code ?? 'read';
  if (code !== 'read' && code !== 'protocol_error') throw new Error(`refused as ${code}`);
  return code;
};
