/**
 * What requests take in tokens, learned of those that were counted: prompts, by the bytes of their bodies; answers that
 * ended without a count, whose clients hung up before it was told and had them all the same; and those that are to
 * come, which take about what others did. Pure.
 */

/** Of a stream whose engine was never heard to count: an event of one token has 150 to 300 bytes. */
const bytesPerTokenFirst = 200;
/** Of an answer in one piece: text, most of it. */
const bytesPerTokenWhole = 4;
/** What was learned counts less by this with each answer. */
const keptShare = 0.95;

/** A mean of which the latest counts most. */
class Mean {
  #amount = 0;
  #count = 0;

  saw(amount: number, count: number): void {
    if (amount <= 0 || count <= 0) return;
    this.#amount = keptShare * this.#amount + amount;
    this.#count = keptShare * this.#count + count;
  }

  /** Undefined while nobody knows. */
  get value(): number | undefined {
    return this.#count === 0 ? undefined : this.#amount / this.#count;
  }
}

/** An answer that ended without the engine's count. */
export interface Uncounted {
  readonly bodyBytes: number;
  /** It was streamed, and its first token came. */
  readonly hasBegun: boolean;
  /** From its seat to its end. */
  readonly tookMs: number;
  /** Its client left. */
  readonly isLeft: boolean;
  /** The most that its request asked for. */
  readonly tokensMax: number;
}

/** Of one model's answers. */
export class AnswerTokens {
  readonly #streamBytes = new Mean();
  readonly #ms = new Mean();

  /** An answer of so many tokens ended. */
  saw(
    { bodyBytes, hasBegun, tookMs }: Pick<Uncounted, 'bodyBytes' | 'hasBegun' | 'tookMs'>,
    tokens: number,
  ): void {
    if (hasBegun) this.#streamBytes.saw(bodyBytes, tokens);
    this.#ms.saw(tookMs, tokens);
  }

  /** About so many had this one. */
  in({ bodyBytes, hasBegun, tookMs, isLeft, tokensMax }: Uncounted): number {
    if (hasBegun) return bodyBytes / (this.#streamBytes.value ?? bytesPerTokenFirst);
    if (bodyBytes > 0) return Math.min(tokensMax, bodyBytes / bytesPerTokenWhole);
    // Of what comes in one piece there is nothing to see, and its engine worked all the same.
    const msPerToken = this.#ms.value;
    return isLeft && msPerToken !== undefined ? tookMs / msPerToken : 0;
  }
}

/** How many tokens the prompts of one model have, by what is guessed of their bytes. */
export class PromptTokens {
  readonly #perGuessed = new Mean();

  saw(tokens: number, guessed: number): void {
    this.#perGuessed.saw(tokens, guessed);
  }

  in(guessed: number): number {
    return guessed * (this.#perGuessed.value ?? 1);
  }
}

/** What the answers of one tenant take: it may well ask for all there is, and take little. */
export class UsualAnswer {
  readonly #tokens = new Mean();

  saw(tokens: number): void {
    this.#tokens.saw(tokens, 1);
  }

  /** Of a request that asks for no more than so many. */
  within(tokensMax: number): number {
    return Math.min(tokensMax, this.#tokens.value ?? tokensMax);
  }
}
