/**
 * How many tokens an answer has by its bytes, for one that ended without the engine's count: whoever hangs up before
 * that is told has had them all the same. Learned of a model's streams, the latest counting most. Pure.
 */

/** Of a stream whose engine was never heard to count: an event of one token has 150 to 300 bytes. */
const bytesPerTokenFirst = 200;
/** What was learned counts less by this with each answer. */
const keptShare = 0.95;

export class AnswerTokens {
  #bytes = 0;
  #tokens = 0;

  /** A stream of so many bytes had so many tokens. */
  saw(bodyBytes: number, tokens: number): void {
    if (bodyBytes <= 0 || tokens <= 0) return;
    this.#bytes = keptShare * this.#bytes + bodyBytes;
    this.#tokens = keptShare * this.#tokens + tokens;
  }

  /** About so many are in so many bytes. */
  in(bodyBytes: number): number {
    return bodyBytes / (this.#tokens === 0 ? bytesPerTokenFirst : this.#bytes / this.#tokens);
  }
}
