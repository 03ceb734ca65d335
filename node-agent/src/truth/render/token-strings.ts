/**
 * Where tokens end in a text, from the strings that a tokenizer's vocabulary has for them. Such a string is not the
 * text: byte-level vocabularies write each byte as a character of an alphabet of 256 ("Ġ" for a space), others write a
 * space as "▁" and a single byte as "<0x0A>"; added tokens stand as they are in both. What does not make the text that
 * the engine itself gives for these tokens is not believed. Pure.
 */
import { type PromptTokens, type TokenPiece, tokensOfPieces } from './pieces.ts';

type BytesOf = (text: string) => Uint8Array;

/** Bytes that the alphabet shows as the character of the same number; all others are counted up from 256. */
const isShown = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

const byteAlphabet: ReadonlyMap<string, number> = (() => {
  const alphabet = new Map<string, number>();
  let others = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    alphabet.set(String.fromCharCode(isShown(byte) ? byte : others), byte);
    if (!isShown(byte)) others += 1;
  }
  return alphabet;
})();

const asBytes: BytesOf = (text) => {
  const bytes: number[] = [];
  for (const character of text) {
    const byte = byteAlphabet.get(character);
    // An added token.
    if (byte === undefined) return Buffer.from(text);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
};

const asText: BytesOf = (text) => {
  const [, byte] = /^<0x([0-9A-F]{2})>$/.exec(text) ?? [];
  return byte === undefined
    ? Buffer.from(text.replaceAll('▁', ' '))
    : Uint8Array.of(Number.parseInt(byte, 16));
};

const startsAt = (text: Uint8Array, at: number, bytes: Uint8Array): boolean =>
  Buffer.compare(text.subarray(at, at + bytes.length), bytes) === 0;

/** A space that begins a token may be missing in the text: at its start, and where decoders clean up. */
const fitted = (text: Uint8Array, ids: readonly number[], all: readonly Uint8Array[]): TokenPiece[] => {
  let at = 0;
  return all.map((whole, index) => {
    const isShort = whole[0] === 0x20 && !startsAt(text, at, whole);
    const bytes = isShort ? whole.subarray(1) : whole;
    at += bytes.length;
    return { id: ids[index] ?? 0, bytes };
  });
};

/** Undefined when the strings do not make the text. */
export const tokensOfStrings = (
  text: string,
  ids: readonly number[],
  strings: readonly string[],
): PromptTokens | undefined => {
  const bytes = Buffer.from(text);
  for (const bytesOf of [asBytes, asText]) {
    const tokens = tokensOfPieces(text, fitted(bytes, ids, strings.map(bytesOf)));
    if (tokens !== undefined) return tokens;
  }
  return undefined;
};
