/**
 * One request as it is served, for the truth of a cache: its prompt's chain is cached with the engine's first byte, and
 * with a clean end the chain of the turn after too. Keeps the request's body, then the answer's bytes, within bounds,
 * and reads them when nobody waits. On the way of a token it only puts a view of the bytes aside.
 *
 *   body --last--> (later) chain --head 200, first byte--> cached --clean end--> (later) reply, chain extended
 */

import { prefixBlocksMax, prefixBodyBytesMax } from '@cognitora/protocol/limits';
import type { Usage } from '@cognitora/protocol/link';
import type { InferencePath } from '@cognitora/protocol/openai';
import { blocksOf, type Chain } from '@cognitora/protocol/prefix/blake3';
import { type ChainOptions, extendByReply, prefixChain } from '@cognitora/protocol/prefix/chain';
import type { PromptRequest } from '@cognitora/protocol/prefix/layout';
import { isRecord, type JsonRecord, jsonValueIn } from '@cognitora/protocol/shape';
import type { RequestWatch } from '../serve.ts';
import type { CacheModel, Run } from './cache-model.ts';
import { type WholeTurn, wholeTurn } from './continued-turn.ts';
import { digestsOf, type KvLedger } from './kv-ledger.ts';

/** Of one answer: 16 k tokens as events of 250 bytes. A longer one is not added to its prompt. */
export const answerBytesMax = 4 * 1024 * 1024;
/** Bodies and answers of all requests together; while they are more, nothing of further ones is kept. */
export const keptBytesMax = 64 * 1024 * 1024;
/** A report that is short by less is none of a lost block: engines count in blocks of their own. */
const slackTokens = 64;
const slackShare = 0.8;

/** An assistant's message out of an answer's bytes. */
export type ReadReply = (bytes: Uint8Array, isStream: boolean) => JsonRecord | undefined;

/** A prompt's digests from the first on, and how many of them the cache holds. */
export interface PromptChain {
  readonly digests: BigUint64Array;
  readonly held: number;
}

/** What the cache holds after an answer: the chain of the turn after. */
export interface SettledPrompt {
  readonly digests: BigUint64Array;
  readonly usage: Usage;
}

/** Who writes a request down; one that reads its prompt at once shows it, too. */
export interface PromptWatch extends RequestWatch {
  /** Once the body is whole; undefined when it cannot be read. */
  readonly chain?: PromptChain | undefined;
  /** Whether the body is kept, which bounds how much of all bodies is. */
  readonly keepsBody?: boolean;
}

/** What all requests of an agent share. */
export interface Keeping {
  /** Bytes that are kept now. */
  bytes: number;
  /** Runs something when nobody waits for anything. */
  readonly later: (run: () => void) => void;
  readonly readReply: ReadReply;
}

export interface ServedPromptOptions {
  readonly keeping: Keeping;
  readonly path: InferencePath;
  readonly isStream: boolean;
  readonly bodyBytes: number;
  /** A chat whose last message is the beginning of its answer. */
  readonly isContinued?: boolean;
  readonly chain: ChainOptions;
  readonly cache: CacheModel;
  readonly ledger: KvLedger;
  /** The engine that computed this is gone. */
  readonly isOver: () => boolean;
  /** The ledger may have changed. */
  readonly onChange: () => void;
  /** The prompt is in the engine's cache; at its end once more, with the reply as far as that could be read. */
  readonly onPrompt?: ((request: PromptRequest, usage?: Usage) => void) | undefined;
  /** The answer ended as it should, and what it left behind is known. */
  readonly onSettled?: ((settled: SettledPrompt) => void) | undefined;
}

export class ServedPrompt implements PromptWatch {
  readonly #options: ServedPromptOptions;
  readonly #run: Run;
  readonly #keepsBody: boolean;
  #parts: Uint8Array[] = [];
  #kept = 0;
  #answerBytes = 0;
  #body: JsonRecord | undefined;
  #chain: Chain | undefined;
  /** Blocks that the ledger claimed before the request ran. */
  #claimed = 0;
  #isVoid = false;
  #isCached = false;
  #isAnswerKept = true;

  constructor(options: ServedPromptOptions) {
    this.#options = options;
    this.#run = { ledger: options.ledger };
    this.#keepsBody = options.bodyBytes <= prefixBodyBytesMax && this.#hasRoom(options.bodyBytes);
    // Counted from the start: many bodies that arrive side by side would each find room.
    if (this.#keepsBody) this.#count(options.bodyBytes);
  }

  /** More of the request's body. The bytes are copied: the link reuses its own. */
  body(bytes: Uint8Array, isLast: boolean): void {
    if (this.#keepsBody && bytes.length > 0) this.#parts.push(new Uint8Array(bytes));
    if (isLast) this.#options.keeping.later(() => this.#digest());
  }

  get keepsBody(): boolean {
    return this.#keepsBody;
  }

  get chain(): PromptChain | undefined {
    this.#digest();
    return this.#chain && { digests: digestsOf(this.#chain.digests), held: this.#claimed };
  }

  /** An answer that is an error computes nothing. */
  head(status: number): void {
    if (status !== 200) this.#isVoid = true;
  }

  /** Bytes of the answer, which stay as they are. */
  data(bytes: Uint8Array): void {
    if (this.#isVoid) return;
    if (!this.#isCached) this.#firstByte();
    if (!this.#isAnswerKept) return;
    this.#answerBytes += bytes.length;
    this.#isAnswerKept = this.#answerBytes <= answerBytesMax && this.#hasRoom(bytes.length);
    if (this.#isAnswerKept) this.#keep(bytes);
    else this.#forget();
  }

  /** The request is over, with its whole answer or without. */
  ended(isClean: boolean, usage: Usage | undefined): void {
    const { cache, keeping } = this.#options;
    if (!this.#isCached || this.#options.isOver()) this.#forget();
    else if (!isClean) {
      this.#forget();
      keeping.later(() => cache.release(this.#run));
    } else keeping.later(() => this.#settle(usage));
  }

  #hasRoom(bytes: number): boolean {
    return this.#options.keeping.bytes + bytes <= keptBytesMax;
  }

  #keep(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#count(bytes.length);
  }

  #count(bytes: number): void {
    this.#kept += bytes;
    this.#options.keeping.bytes += bytes;
  }

  #forget(): void {
    this.#options.keeping.bytes -= this.#kept;
    this.#kept = 0;
    this.#parts = [];
    this.#body = undefined;
    this.#isAnswerKept = false;
  }

  /** The body's bytes stay counted while what was read from them is kept. */
  #takeParts(): Uint8Array {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    return bytes;
  }

  /** What is not read in time, or cannot be, takes its place in the cache without a name. */
  #digest(): void {
    if (!this.#keepsBody || this.#isVoid || this.#isCached || this.#body !== undefined) return;
    const body = jsonValueIn(this.#takeParts());
    if (!isRecord(body)) return;
    this.#body = body;
    this.#chain = prefixChain({ path: this.#options.path, body }, this.#options.chain);
    this.#claimed = this.#options.ledger.heldOf(digestsOf(this.#chain.digests));
  }

  #firstByte(): void {
    this.#digest();
    this.#isCached = true;
    const body = this.#body;
    if (body === undefined) this.#isAnswerKept = false;
    this.#options.keeping.later(() => {
      this.#hold(this.#chain);
      // How an engine writes a message that it goes on with, nobody is asked.
      if (body === undefined || this.#options.isOver() || this.#options.isContinued === true) return;
      this.#tell({ body });
    });
  }

  #tell(request: { readonly body: JsonRecord; readonly reply?: JsonRecord }, usage?: Usage): void {
    this.#options.onPrompt?.({ path: this.#options.path, ...request }, usage);
  }

  #hold(chain: Chain | undefined): void {
    const { cache, isOver, onChange } = this.#options;
    if (isOver()) return;
    cache.hold(this.#run, chain === undefined ? [] : digestsOf(chain.digests));
    onChange();
  }

  #settle(usage: Usage | undefined): void {
    const { cache, isOver, onSettled } = this.#options;
    if (!isOver()) {
      if (usage?.cachedTokens !== undefined) cache.had(usage.cachedTokens);
      this.#correct(usage);
      const chain = this.#chainAfter(usage);
      this.#hold(chain);
      cache.release(this.#run);
      if (chain !== undefined && usage !== undefined)
        onSettled?.({ digests: digestsOf(chain.digests), usage });
    }
    this.#forget();
  }

  /** The chain of the turn after, as far as anybody can tell. */
  #chainAfter(usage: Usage | undefined): Chain | undefined {
    const { path, isStream, isContinued = false, keeping, chain } = this.#options;
    if (this.#chain === undefined || this.#body === undefined) return this.#chain;
    const reply = this.#isAnswerKept ? keeping.readReply(this.#takeParts(), isStream) : undefined;
    if (isContinued) return this.#chainAfterAll(reply && wholeTurn(this.#body, reply));
    this.#tell({ body: this.#body, ...(reply === undefined ? {} : { reply }) }, usage);
    if (reply === undefined) return this.#chain;
    return extendByReply(this.#chain, { path, body: this.#body, reply }, chain);
  }

  /** The same where the reply is only the rest of an answer: the engine's count is of another prompt. */
  #chainAfterAll(turn: WholeTurn | undefined): Chain | undefined {
    if (turn === undefined) return this.#chain;
    const { path, chain } = this.#options;
    this.#tell(turn);
    return extendByReply(prefixChain({ path, body: turn.body }, chain), { path, ...turn }, chain);
  }

  /** What the engine did not have, though the ledger said so, is gone with all that stands on it. */
  #correct(usage: Usage | undefined): void {
    const { cache, chain } = this.#options;
    const blocks = this.#chain === undefined ? 0 : blocksOf(this.#chain);
    // Of a prompt that is longer than its chain nobody knows how many tokens a block has.
    if (usage === undefined || this.#chain === undefined || blocks === 0 || blocks >= prefixBlocksMax) return;
    const tokensPerBlock = usage.promptTokens / (blocks + this.#chain.tail.length / chain.blockBytes);
    cache.learn(tokensPerBlock);
    const { cachedTokens } = usage;
    if (cachedTokens === undefined || tokensPerBlock <= 0) return;
    if (cachedTokens >= this.#claimed * tokensPerBlock * slackShare - slackTokens) return;
    const digest = digestsOf(this.#chain.digests)[Math.floor(cachedTokens / tokensPerBlock)];
    if (digest !== undefined) cache.lost(this.#run, digest);
  }
}
