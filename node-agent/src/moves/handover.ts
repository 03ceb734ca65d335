/**
 * Where saved KV lies between two hosts, as the agent sees it: a store of envelopes, found by the prefix digests that
 * they stand for. An implementation carries bytes and need not understand them; whoever gets an envelope checks it.
 */
import type { EnvelopeHead } from './envelope.ts';

/** An envelope that stands for the beginning of some prompt. */
export interface SavedPrefix {
  /** Names the envelope in this hand-over. */
  readonly id: string;
  /** How many blocks of the prompt it covers. */
  readonly blocks: number;
  /** About as many tokens of the prompt. */
  readonly tokens: number;
  /** To fetch: the whole envelope. */
  readonly bytes: number;
}

export interface KvHandover {
  /** The envelope of this fingerprint that covers most of a chain; a request waits for the answer. */
  has(fingerprint: Uint8Array, chain: BigUint64Array): Promise<SavedPrefix | undefined>;
  /** An envelope's bytes. Rejects when it is not there any more. */
  get(id: string): AsyncIterable<Uint8Array>;
  /** Keeps an envelope, in place of those that it makes needless. */
  put(head: EnvelopeHead, envelope: AsyncIterable<Uint8Array>): Promise<void>;
  /** The envelope is of no use. */
  drop(id: string): Promise<void>;
}
