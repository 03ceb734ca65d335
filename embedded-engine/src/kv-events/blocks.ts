/**
 * What is resident: the tokens whose KV each sequence really holds, cut into named blocks, with a count of
 * how many sequences hold each block. It says which blocks appear and disappear; it is never ahead of the
 * evaluation, because `extend` is called after it. Pure: no socket, no clock.
 *
 *   sequence 0: [ A | B | C | tail ]     holders: A 2, B 2, C 1, D 1
 *   sequence 1: [ A | B | D ]            truncating sequence 0 to one block removes C only
 */
import { type BlockHash, blockHash } from './chain.ts';

export interface BlockStored {
  readonly type: 'stored';
  readonly hashes: readonly BlockHash[];
  readonly parent: BlockHash | undefined;
  readonly tokens: readonly number[];
  /** What the name of a chain's first block depends on beside its tokens; '' where there is none. */
  readonly salt: string;
}

export interface BlockRemoved {
  readonly type: 'removed';
  readonly hashes: readonly BlockHash[];
}

export interface AllCleared {
  readonly type: 'cleared';
}

export type BlockEvent = BlockStored | BlockRemoved | AllCleared;

interface Row {
  salt: string;
  tokens: number[];
  hashes: BlockHash[];
}

export class BlockLedger {
  readonly blockTokens: number;
  readonly #rows: Row[];
  readonly #holders = new Map<BlockHash, number>();

  constructor(sequences: number, blockTokens: number) {
    this.blockTokens = blockTokens;
    this.#rows = Array.from({ length: sequences }, () => ({ salt: '', tokens: [], hashes: [] }));
  }

  /** Distinct blocks that some sequence holds. */
  get residentBlocks(): number {
    return this.#holders.size;
  }

  residentTokens(sequence: number): readonly number[] {
    return this.#row(sequence).tokens;
  }

  salt(sequence: number): string {
    return this.#row(sequence).salt;
  }

  holds(hash: BlockHash): boolean {
    return this.#holders.has(hash);
  }

  /** How many of `tokens`, from the first, this sequence holds under this salt. */
  commonPrefix(sequence: number, tokens: readonly number[], salt: string): number {
    const row = this.#row(sequence);
    if (row.salt !== salt) return 0;
    const length = Math.min(row.tokens.length, tokens.length);
    let at = 0;
    while (at < length && row.tokens[at] === tokens[at]) at++;
    return at;
  }

  /** Gives an empty sequence to a trust domain. Its tokens never match requests with another salt. */
  setSalt(sequence: number, salt: string): void {
    const row = this.#row(sequence);
    if (row.salt === salt) return;
    if (row.tokens.length > 0) throw new Error('a sequence changes its salt only when it is empty');
    row.salt = salt;
  }

  /** `tokens` were just evaluated at the end of the sequence. */
  extend(sequence: number, tokens: readonly number[]): BlockEvent[] {
    const row = this.#row(sequence);
    for (const token of tokens) row.tokens.push(token);
    const events: BlockEvent[] = [];
    let run: { hashes: BlockHash[]; parent: BlockHash | undefined; tokens: number[] } | undefined;
    while ((row.hashes.length + 1) * this.blockTokens <= row.tokens.length) {
      const start = row.hashes.length * this.blockTokens;
      const block = row.tokens.slice(start, start + this.blockTokens);
      const parent = row.hashes.at(-1);
      const hash = blockHash(parent, block, row.salt);
      row.hashes.push(hash);
      const holders = this.#holders.get(hash) ?? 0;
      this.#holders.set(hash, holders + 1);
      if (holders > 0) {
        run = undefined;
      } else if (run) {
        run.hashes.push(hash);
        run.tokens.push(...block);
      } else {
        run = { hashes: [hash], parent, tokens: block };
        events.push({ type: 'stored', salt: row.salt, ...run });
      }
    }
    return events;
  }

  /** The sequence forgets everything from position `length` on. */
  truncate(sequence: number, length: number): BlockEvent[] {
    const row = this.#row(sequence);
    if (length >= row.tokens.length) return [];
    row.tokens.length = length;
    const dropped = row.hashes.splice(Math.floor(length / this.blockTokens));
    const gone: BlockHash[] = [];
    for (const hash of dropped.reverse()) {
      const holders = (this.#holders.get(hash) ?? 0) - 1;
      if (holders > 0) {
        this.#holders.set(hash, holders);
      } else {
        this.#holders.delete(hash);
        gone.push(hash);
      }
    }
    return gone.length > 0 ? [{ type: 'removed', hashes: gone }] : [];
  }

  #row(sequence: number): Row {
    const row = this.#rows[sequence];
    if (!row) throw new Error(`no sequence ${sequence}`);
    return row;
  }
}
