/**
 * One request of a replica whose KV moves: holds it back while its prefix is restored, and hands all that goes by to
 * the one who writes the prompt down. Tells how long its prompt took to compute.
 */
import type { OpenRequest, Usage } from '@cognitora/protocol/link';
import { FieldLines } from '@cognitora/protocol/sse';
import type { RequestWatch } from '../serve.ts';
import type { PromptChain, PromptWatch } from '../truth/served-prompt.ts';
import type { Restored } from './replica-moves.ts';

export interface MovedRequestOptions {
  readonly open: OpenRequest;
  readonly prompt: PromptWatch;
  readonly monotonicMs: () => number;
  /** No other request runs on the replica: its time is its own. */
  readonly isAlone: boolean;
  /** Never rejects. Undefined: nothing is restored. */
  readonly restore:
    | ((chain: PromptChain, isOver: () => boolean) => Promise<Restored | undefined>)
    | undefined;
  readonly onPrefilled: (tokens: number, ms: number) => void;
  readonly onOver: () => void;
}

export class MovedRequest implements RequestWatch {
  /** The engine gets the request when this resolves; undefined: at once. */
  readonly ready: Promise<void> | undefined;
  readonly #options: MovedRequestOptions;
  #resolve = (): void => {};
  #sentMs: number;
  /** What is no stream of events begins with a byte of a field, too. */
  readonly #answered = new FieldLines();
  #firstByteMs: number | undefined;
  #restored: Restored | undefined;
  #isOver = false;

  constructor(options: MovedRequestOptions) {
    this.#options = options;
    this.#sentMs = options.monotonicMs();
    if (options.restore === undefined || options.prompt.keepsBody !== true) return;
    this.ready = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  body(bytes: Uint8Array, last: boolean): void {
    this.#options.prompt.body(bytes, last);
    if (last) void this.#prepare();
  }

  head(status: number): void {
    this.#options.prompt.head(status);
  }

  data(bytes: Uint8Array): void {
    if (this.#firstByteMs === undefined && this.#answered.push(bytes)) {
      this.#firstByteMs = this.#options.monotonicMs();
      this.#restored?.release();
    }
    this.#options.prompt.data(bytes);
  }

  ended(isClean: boolean, usage: Usage | undefined): void {
    this.#isOver = true;
    this.#resolve();
    this.#options.prompt.ended(isClean, usage);
    this.#restored?.release();
    if (isClean && usage !== undefined) {
      this.#restored?.used(usage);
      this.#learn(usage);
    }
    this.#options.onOver();
  }

  async #prepare(): Promise<void> {
    const { monotonicMs, prompt, restore } = this.#options;
    try {
      const chain = this.ready === undefined ? undefined : prompt.chain;
      if (chain !== undefined) this.#restored = await restore?.(chain, () => this.#isOver);
    } catch {
      // A prompt that cannot be digested is sent as it is.
    }
    if (this.#isOver) this.#restored?.release();
    this.#sentMs = monotonicMs();
    this.#resolve();
  }

  /** Of an answer in one piece nobody knows when its first token came. */
  #learn({ promptTokens, cachedTokens }: Usage): void {
    const { isAlone, onPrefilled, open } = this.#options;
    if (!isAlone || !open.stream || cachedTokens === undefined || this.#firstByteMs === undefined) return;
    if (promptTokens - cachedTokens >= learnedTokensMin) {
      onPrefilled(promptTokens - cachedTokens, this.#firstByteMs - this.#sentMs);
    }
  }
}

/** Of fewer, the first byte tells of other things than computing. */
const learnedTokensMin = 128;
