/**
 * The bytes each token stands for. Pure; it is given the vocabulary of the model file.
 * Bytes and not text, because one character may be spread over several tokens.
 *
 *   byte-level BPE ("bpe")        `Ġthe` in GPT-2's alphabet
 *   SentencePiece ("spm", "ugm")  `▁the`, and `<0xE2>` for single bytes
 *   others                        the piece as it is written
 */
import { fromByteAlphabet } from '../models/byte-alphabet.ts';

/** GGUF's `tokenizer.ggml.token_type`. */
const tokenType = { unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

export interface VocabularySource {
  readonly kind: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
}

export interface Vocabulary {
  readonly size: number;
  /** Longest piece in bytes: a text of n bytes has at least n / this tokens. */
  readonly pieceBytesMax: number;
  /** Bytes that a generated token adds to the text: none for control tokens. */
  textBytes(token: number): Uint8Array;
  /** Bytes of a token's spelling, control tokens included: what `/tokenize` shows. */
  pieceBytes(token: number): Uint8Array;
}

const noBytes = new Uint8Array(0);
const encoder = new TextEncoder();

function spellingBytes(kind: string, piece: string, type: number | undefined): Uint8Array {
  if (type === tokenType.control || type === tokenType.userDefined) return encoder.encode(piece);
  if (kind === 'bpe') return fromByteAlphabet(piece) ?? encoder.encode(piece);
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1];
  if (byte !== undefined && (type === tokenType.byte || kind === 'spm')) {
    return Uint8Array.of(Number.parseInt(byte, 16));
  }
  return encoder.encode(kind === 'spm' || kind === 'ugm' ? piece.replaceAll('\u2581', ' ') : piece);
}

/** Reads pieces lazily: a large vocabulary has 250,000 of them and most are never shown. */
export function createVocabulary(source: VocabularySource): Vocabulary {
  const cache = new Map<number, Uint8Array>();
  const pieceBytes = (token: number): Uint8Array => {
    const known = cache.get(token);
    if (known) return known;
    const piece = source.tokens[token];
    const bytes = piece === undefined ? noBytes : spellingBytes(source.kind, piece, source.types[token]);
    cache.set(token, bytes);
    return bytes;
  };
  let charsMax = 1;
  for (const piece of source.tokens) charsMax = Math.max(charsMax, piece.length);
  return {
    size: source.tokens.length,
    // A UTF-16 unit is at most three bytes of UTF-8.
    pieceBytesMax: charsMax * 3,
    textBytes: (token) => {
      const type = source.types[token];
      return type === tokenType.control || type === tokenType.unknown ? noBytes : pieceBytes(token);
    },
    pieceBytes,
  };
}
