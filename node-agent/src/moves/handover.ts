/**
 * Where saved KV lies between two hosts, as the agent sees it: a store of envelopes, found by the prefix digests that
 * they stand for. An implementation carries bytes and need not understand them; whoever gets an envelope checks it.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import type { HostBlocks } from '../truth/host-blocks.ts';
import type { EnvelopeHead } from './envelope.ts';
import type { EngineFacts } from './fingerprint.ts';

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
  /** Where it has to be fetched from, and how fast that is; undefined: as fast as what was fetched before. */
  readonly peer?: PeerReach;
}

/** A replica that saves and restores states. */
export interface MovingReplica {
  readonly fingerprint: Uint8Array;
  /** What the fingerprint is of. */
  readonly facts: EngineFacts;
  /** Told which blocks of prompts lie on this host, where the hand-over knows that. */
  readonly held: HostBlocks;
}

export interface KvHandover {
  /** From now on the replica moves states of this fingerprint, and of no other one. */
  serve(replica: MovingReplica): void;
  /** Whether it can be asked of such states now; no: nothing is looked for and nothing saved. */
  isReady(fingerprint: Uint8Array): boolean;
  /** The round trip to another host that it can ask; undefined: to none. */
  rttMsTo(node: NodeId): number | undefined;
  /**
   * The envelope of this fingerprint that covers most of a chain; a request waits for the answer. `from`: another host
   * that is said to hold so many of its blocks.
   */
  has(fingerprint: Uint8Array, chain: BigUint64Array, from?: KvSource): Promise<SavedPrefix | undefined>;
  /** An envelope's bytes. Rejects when it is not there any more, or the signal says that nobody waits. */
  get(id: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Keeps an envelope, in place of those that it makes needless. */
  put(head: EnvelopeHead, envelope: AsyncIterable<Uint8Array>): Promise<void>;
  /** The envelope is of no use. */
  drop(id: string): Promise<void>;
}
