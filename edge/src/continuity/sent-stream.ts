/**
 * HOT. An SSE answer on its way to the client: lets only whole events pass, and remembers what was said, so that
 * another engine can go on from it. The usual piece is whole events and passes as it is; raw events wait until there
 * are some, and are then read at once, so that what is kept of a long answer is its text. Asks nobody, decides nothing.
 *
 *   engine's bytes --push--> whole events --> client
 *                              \--> unread --32 KiB--> text
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import { sentUnreadBytesMax } from '@cognitora/protocol/limits';
import type { InferencePath } from '@cognitora/protocol/openai';
import { endsEvent, SseSplitter } from '@cognitora/protocol/sse';
import { AnswerReader } from './answer-reader.ts';
import type { Sent } from './sent.ts';

export class SentStream {
  readonly #reader: AnswerReader;
  #splitter = new SseSplitter();
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #isTorn = false;

  constructor(path: InferencePath) {
    this.#reader = new AnswerReader(path);
  }

  /** What may go to the client now. The bytes are kept for a while: nobody may write over them. */
  push(bytes: Uint8Array): Uint8Array {
    if (this.#splitter.atBoundary && endsEvent(bytes)) {
      this.#keep(bytes);
      return bytes;
    }
    const events: Uint8Array[] = [];
    this.#splitter.push(bytes, (event, isWhole) => {
      events.push(event);
      this.#isTorn = !isWhole;
      if (isWhole) this.#keep(event);
      else this.#reader.skip();
    });
    return joinBytes(events);
  }

  /** What is left of an answer that ended as its engine meant it to. */
  end(): Uint8Array {
    const rest = this.#splitter.end();
    if (rest.length > 0) this.#keep(rest);
    return rest;
  }

  /** The engine is gone: its last event will never be whole. The next bytes are another one's. */
  dropPartial(): void {
    this.#splitter = new SseSplitter();
  }

  /** What was passed on last is a part of an event that is too long to be held. */
  get isTorn(): boolean {
    return this.#isTorn;
  }

  get sent(): Sent {
    this.#read();
    return this.#reader.sent;
  }

  #keep(bytes: Uint8Array): void {
    this.#unread.push(bytes);
    this.#unreadBytes += bytes.length;
    if (this.#unreadBytes >= sentUnreadBytesMax) this.#read();
  }

  #read(): void {
    if (this.#unreadBytes === 0) return;
    this.#reader.read(joinBytes(this.#unread));
    this.#unread = [];
    this.#unreadBytes = 0;
  }
}
