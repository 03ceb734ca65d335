/**
 * Events of a cache that is always full, as an engine with maps writes them: prompts of random tokens, stored a few
 * blocks at a time, and the oldest blocks removed one by one. The same for the same seed.
 */
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false });
const mask64 = (1n << 64n) - 1n;
const tokensMax = 150_000;

export interface StreamOptions {
  /** Blocks that the engine holds. */
  readonly capacity: number;
  readonly blockTokens: number;
  readonly blocksPerPrompt: number;
  readonly blocksPerEvent: number;
}

export interface Batch {
  readonly payload: Uint8Array;
  readonly events: number;
  readonly tokens: readonly number[];
}

export class EventStream {
  readonly #options: StreamOptions;
  /** Oldest first, as a ring. */
  readonly #held: bigint[];
  #next = 0;
  #count = 0;
  #names = 0n;
  #state = 7;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#held = new Array<bigint>(options.capacity);
  }

  /** One prompt, and what gives way to it. */
  prompt(): Batch {
    const { blockTokens, blocksPerPrompt, blocksPerEvent } = this.#options;
    const tokens = Array.from({ length: blockTokens * blocksPerPrompt }, () => this.#token());
    const events: object[] = [];
    let parent: bigint | null = null;
    for (let at = 0; at < blocksPerPrompt; at += blocksPerEvent) {
      const names = Array.from({ length: blocksPerEvent }, () => this.#name());
      for (const name of names) this.#hold(name, events);
      const token_ids = tokens.slice(at * blockTokens, (at + blocksPerEvent) * blockTokens);
      events.push({
        ...{ type: 'BlockStored', block_hashes: names, parent_block_hash: parent, token_ids },
        ...{ block_size: blockTokens, lora_id: null, medium: 'GPU', lora_name: null },
        ...{ extra_keys: names.map(() => null), group_idx: 0, kv_cache_spec_kind: 'full_attention' },
      });
      parent = names.at(-1) ?? null;
    }
    return { payload: packr.pack([1.5, events, 0]), events: events.length, tokens };
  }

  #hold(name: bigint, events: object[]): void {
    const at = this.#next;
    this.#next = (at + 1) % this.#options.capacity;
    if (this.#count === this.#options.capacity) {
      events.push({ type: 'BlockRemoved', block_hashes: [this.#held[at]], medium: 'GPU', group_idx: 0 });
    } else this.#count += 1;
    this.#held[at] = name;
  }

  #name(): bigint {
    this.#names += 1n;
    return (this.#names * 0x9e37_79b9_7f4a_7c15n) & mask64;
  }

  #token(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return (this.#state >>> 8) % tokensMax;
  }
}
