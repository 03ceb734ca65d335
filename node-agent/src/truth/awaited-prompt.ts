/**
 * One request that is served before its model's prompts are understood: an engine has just started, or nobody asked
 * for the model yet. Keeps what goes by, within the bounds of all requests, and repeats it to a served prompt once
 * there can be one; from then on that one hears for itself. What finds no room is not learned: under-claim, never
 * over-claim.
 *
 *   body, head, data, end --kept--> (profile found) repeated --> heard on
 *                              \--> (none, engine gone, no room) forgotten
 */
import { prefixBodyBytesMax } from '@cognitora/protocol/limits';
import type { OpenRequest, Usage } from '@cognitora/protocol/link';
import type { RequestWatch } from '../serve.ts';
import { answerBytesMax, type Keeping, keptBytesMax } from './served-prompt.ts';

/** Of one engine so many wait; of more the oldest is forgotten. A profile takes a second, a busy engine's a minute. */
export const awaitedPromptsMax = 64;

const noBytes = new Uint8Array();

export class AwaitedPrompt implements RequestWatch {
  readonly open: OpenRequest;
  readonly #keeping: Keeping;
  /** What went by; undefined once it was repeated or forgotten. */
  #heard: ((watch: RequestWatch) => void)[] | undefined = [];
  #keptBytes = 0;
  #answerBytes = 0;
  #served: RequestWatch | undefined;

  constructor(open: OpenRequest, keeping: Keeping) {
    this.open = open;
    this.#keeping = keeping;
  }

  /** The bytes are copied: the link reuses its own. */
  body(bytes: Uint8Array, isLast: boolean): void {
    if (this.#served !== undefined) this.#served.body(bytes, isLast);
    else if (this.#heard !== undefined) {
      const kept = this.open.bodyBytes <= prefixBodyBytesMax ? new Uint8Array(bytes) : noBytes;
      this.#keep(kept.length, (watch) => watch.body(kept, isLast));
    }
  }

  head(status: number): void {
    if (this.#served !== undefined) this.#served.head(status);
    else this.#keep(0, (watch) => watch.head(status));
  }

  data(bytes: Uint8Array): void {
    if (this.#served !== undefined) {
      this.#served.data(bytes);
      return;
    }
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > answerBytesMax) this.forget();
    else this.#keep(bytes.length, (watch) => watch.data(bytes));
  }

  ended(isClean: boolean, usage: Usage | undefined): void {
    if (this.#served !== undefined) this.#served.ended(isClean, usage);
    else this.#keep(0, (watch) => watch.ended(isClean, usage));
  }

  /** Repeats all that went by; what still comes goes there too. */
  repeatTo(served: RequestWatch): void {
    const heard = this.#heard;
    if (heard === undefined) return;
    this.forget();
    this.#served = served;
    for (const tell of heard) tell(served);
  }

  forget(): void {
    this.#heard = undefined;
    this.#keeping.bytes -= this.#keptBytes;
    this.#keptBytes = 0;
  }

  #keep(bytes: number, tell: (watch: RequestWatch) => void): void {
    if (this.#heard === undefined) return;
    if (this.#keeping.bytes + bytes > keptBytesMax) {
      this.forget();
      return;
    }
    this.#heard.push(tell);
    this.#keptBytes += bytes;
    this.#keeping.bytes += bytes;
  }
}
