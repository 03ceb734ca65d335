/**
 * How many tokens a model's prompts have per byte, learned from what engines report. Pure. The edge runs no tokenizer:
 * this is what turns digests and lengths into the tokens that costs are made of.
 */

/** Before anything was learned: English text in most vocabularies. */
const priorTokensPerByte = 0.25;
/** The prior counts as so many bytes of prompts. */
const priorBytes = 1_024;
/** Text in any known vocabulary is within these. */
const tokensPerByteMin = 1 / 16;
const tokensPerByteMax = 2;
/** Older prompts count half once so many bytes came after them. */
const memoryBytes = 1_048_576;

export class TokenScale {
  #tokens = priorTokensPerByte * priorBytes;
  #bytes = priorBytes;

  tokensIn(bytes: number): number {
    return Math.max(1, Math.round((bytes * this.#tokens) / this.#bytes));
  }

  /** An engine counted `tokens` in a prompt of `bytes` canonical bytes. */
  learn(tokens: number, bytes: number): void {
    const ratio = tokens / bytes;
    // Bytes that say little of the tokens: an image, a list of prompts, a count that no tokenizer makes.
    if (!(ratio >= tokensPerByteMin && ratio <= tokensPerByteMax)) return;
    this.#tokens += tokens;
    this.#bytes += bytes;
    if (this.#bytes < memoryBytes) return;
    this.#tokens /= 2;
    this.#bytes /= 2;
  }
}
