/**
 * Whether prompts that we render ourselves are the engine's: its count of each prompt's tokens must be ours, and the
 * blocks that its events name must be among those of our prompts. A prompt that was counted otherwise is never claimed;
 * when too many are, nothing is. Pure.
 */
import type { Digest } from '../kv-ledger.ts';

/** Counts that differ, one after the other, once one was right: a request may hold what no profile knows of. */
export const differencesMax = 3;
/** Prompts in a row of which the engine named no block. */
export const unmatchedMax = 8;
/** An engine tells of its blocks within seconds, asked or not. */
export const tellMsMax = 15_000;
/** Prompts that wait for their blocks. */
const awaitedMax = 64;

interface Awaited {
  readonly block: Digest;
  readonly untilMs: number;
}

export interface RenderCheckOptions {
  readonly monotonicMs: () => number;
  /** The engine's events named such a block, and it is not gone. */
  readonly isNamed: (block: Digest) => boolean;
}

export class RenderCheck {
  readonly #options: RenderCheckOptions;
  #hasAgreed = false;
  #differences = 0;
  #awaited: readonly Awaited[] = [];
  #unmatched = 0;

  constructor(options: RenderCheckOptions) {
    this.#options = options;
  }

  /** The same prompt, in tokens. What is wrong, if that says that nothing of ours is to be believed. */
  counted(ours: number, engines: number): string | undefined {
    if (ours === engines) {
      this.#hasAgreed = true;
      this.#differences = 0;
      return undefined;
    }
    this.#differences += 1;
    if (this.#hasAgreed && this.#differences < differencesMax) return undefined;
    return `the engine counts ${engines} tokens in a prompt in which we count ${ours}`;
  }

  /** The first block of a prompt that was counted alike. What is wrong, as above. */
  expects(block: Digest): string | undefined {
    const { monotonicMs, isNamed } = this.#options;
    const now = monotonicMs();
    const all = [...this.#awaited, { block, untilMs: now + tellMsMax }];
    const open = all.filter((awaited) => !isNamed(awaited.block));
    if (open.length < all.length) this.#unmatched = 0;
    this.#awaited = open.filter(({ untilMs }) => untilMs > now).slice(-awaitedMax);
    this.#unmatched += open.filter(({ untilMs }) => untilMs <= now).length;
    if (this.#unmatched < unmatchedMax) return undefined;
    return `the engine's events named no block of ${this.#unmatched} prompts in a row`;
  }
}
