/**
 * How an engine that tells nothing of its cache is thought to keep what it computed: the interface of the guesses, and
 * what they all learn of tokens. A guess writes to ledgers what an engine of its kind would hold, rather too little.
 */
import { kvDigestsPerFeedMax } from '@cognitora/protocol/limits';
import type { Digest, KvLedger } from './kv-ledger.ts';

/** What room an engine has. */
export type Capacity =
  /** Pages that all prompts share; those that nobody used for longest make room. */
  | { readonly kind: 'pages'; readonly tokens: number; readonly isGuess?: true }
  /** So many sequences, each with the prompt that was in it last. */
  | { readonly kind: 'slots'; readonly slots: number };

/** A request as it runs. */
export interface Run {
  readonly ledger: KvLedger;
}

export interface CacheModel {
  /** The chain's blocks are in the engine's cache, and the request goes on. */
  hold(run: Run, chain: ArrayLike<Digest>): void;
  /** The request is over; what it held last stays until something takes its place. */
  release(run: Run): void;
  /** The engine did not have a block, so neither what stands on it: but for what the run has brought there itself. */
  lost(run: Run, digest: Digest): void;
  /** One block's tokens, as a prompt showed. */
  learn(tokensPerBlock: number): void;
  /** The engine had so many tokens of one prompt: it has room for them. */
  had(cachedTokens: number): void;
  /** A model is gone. */
  forget(ledger: KvLedger): void;
}

/** Where the engine tells itself, nothing is guessed. */
export const noGuess: CacheModel = {
  hold: () => {},
  release: () => {},
  lost: () => {},
  learn: () => {},
  had: () => {},
  forget: () => {},
};

/** An estimate of how many tokens a block stands for: follows what prompts show, one not far from the last. */
export class BlockTokens {
  #tokens: number;

  constructor(priorTokens: number) {
    this.#tokens = priorTokens;
  }

  get tokens(): number {
    return this.#tokens;
  }

  learn(tokensPerBlock: number): void {
    if (tokensPerBlock > 0) this.#tokens += (tokensPerBlock - this.#tokens) / 16;
  }
}

/** Of all models of a replica together. */
export const replicaDigestsMax = kvDigestsPerFeedMax;
