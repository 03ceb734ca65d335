/**
 * HOT. The canonical bytes of a prompt: a pure function of (request, profile), at most as many as are hashed. Equal
 * prompts of clients that write alike give equal bytes; bytes that differ stand for prompts that may. One pass into one
 * buffer. Long texts are encoded where they stand; marks and short plain texts are written byte by byte, because each
 * call of the encoder crosses into native code. (All in one string would be flattened, 300 us for 128 KiB.)
 */
import type { JsonRecord } from '../shape.ts';
import type { PromptRequest } from './layout.ts';
import { type Mark, type PartSink, walkPrompt, walkReply } from './parts.ts';
import type { PromptProfile } from './profile.ts';

const encoder = new TextEncoder();
/** So far may a character reach beyond the last byte that is wanted. */
const characterBytesMax = 4;
/** So long a text is written in about the time that a call of the encoder takes. */
const shortCharsMax = 128;

/** What `canonicalBytes` needs to be given to write into. */
export const canonicalBufferBytes = (bytesMax: number): number => bytesMax + characterBytesMax;

/** Text cannot forge a mark: each NUL that it holds is doubled. */
export const escapeMarks = (text: string): string =>
  text.includes('\0') ? text.replaceAll('\0', '\0\0') : text;

class CanonicalBytes implements PartSink {
  readonly #bytes: Uint8Array;
  #bytesMax: number;
  #at = 0;

  constructor(bytes: Uint8Array, bytesMax: number) {
    this.#bytes = bytes;
    this.#bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.#at >= this.#bytesMax;
  }

  mark(mark: Mark): void {
    if (this.isFull) return;
    this.#bytes[this.#at] = 0;
    this.#bytes[this.#at + 1] = mark.charCodeAt(1);
    this.#at += 2;
  }

  text(text: string): void {
    // One more than fits, so that the character at the end is a whole one.
    const room = this.#bytesMax - this.#at + 1;
    if (room <= 1) return;
    const kept = text.length > room ? text.slice(0, room) : text;
    if (kept.length > shortCharsMax || !this.#writePlain(kept)) this.#encode(escapeMarks(kept));
  }

  tool(json: string): void {
    this.text(json);
  }

  tokens(ids: readonly number[]): void {
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    for (let index = 0; index < ids.length && this.#at < this.#bytesMax; index += 1) {
      view.setUint32(this.#at, ids[index] ?? 0, true);
      this.#at += 4;
    }
  }

  stop(): void {
    this.#bytesMax = Math.min(this.#bytesMax, this.#at);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, Math.min(this.#at, this.#bytesMax));
  }

  /** False when a character is none of ASCII, or NUL: then nothing is written. */
  #writePlain(text: string): boolean {
    const bytes = this.#bytes;
    let at = this.#at;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code === 0 || code > 127) return false;
      bytes[at] = code;
      at += 1;
    }
    this.#at = at;
    return true;
  }

  #encode(text: string): void {
    this.#at += encoder.encodeInto(text, this.#bytes.subarray(this.#at)).written;
  }
}

/**
 * The first `bytesMax` canonical bytes of a prompt; none when the profile claims nothing. Never throws. They are
 * written into `buffer`, of at least `canonicalBufferBytes(bytesMax)`, when one is given, and are a view of it.
 */
export const canonicalBytes = (
  request: PromptRequest,
  profile: PromptProfile,
  bytesMax: number,
  buffer = new Uint8Array(canonicalBufferBytes(bytesMax)),
): Uint8Array => {
  const sink = new CanonicalBytes(buffer, bytesMax);
  walkPrompt(request, profile, sink);
  return sink.finish();
};

/**
 * The bytes that a reply adds behind those of its request, at most `bytesMax`. Undefined when the turn after changes
 * bytes before: reasoning that falls away, or parts that move with the last message.
 */
export const replyBytes = (
  request: PromptRequest & { readonly reply: JsonRecord },
  profile: PromptProfile,
  bytesMax: number,
): Uint8Array | undefined => {
  const sink = new CanonicalBytes(new Uint8Array(canonicalBufferBytes(bytesMax)), bytesMax);
  return walkReply(request, profile, sink) ? sink.finish() : undefined;
};
