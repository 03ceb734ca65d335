/**
 * The production directory with a fleet of simulated nodes joined to it: the only file here that knows the directory's
 * interface. Tells it just what agents and links tell it in production: who is there, what a cache stored and dropped,
 * first bytes and ends, what a GPU draws. Never hands it an engine's timing or its cache.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';

import { prefixBlocksMax, streamsPerLinkMax } from '@cognitora/protocol/limits';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { Directory } from '../../edge/src/directory/directory.ts';
import type { Reservation } from '../../edge/src/directory/load.ts';
import type { KvCacheMessage } from '../../edge/src/link/kv-intake.ts';
import type { Policy } from '../../edge/src/policy/policy.ts';
import { DigestWords } from './digest-words.ts';

export interface FleetOptions {
  readonly nodes: number;
  /** The nodes are spread over so many cells, in order. */
  readonly cells: number;
  readonly policy: Policy;
  readonly seed: number;
  readonly random: () => number;
  /** Tokens of one block of the trace, and of one digest: a block is that many digests. */
  readonly blockTokens: number;
  readonly digestTokens: number;
}

/** Where a request went. */
export interface Placement {
  readonly node: number;
  readonly reservation: Reservation;
}

export interface Outcome {
  readonly nowMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

interface Asked {
  readonly node: number;
  readonly request: number;
}

const model = 'simulated';
const replica = 'r0' as ReplicaName;
const epoch = 1 as Epoch;
const profile = plainProfile;
/** A node has one replica of one model, so one feed of what its cache holds. */
const feed = 1;
/** It runs on one GPU. */
const gpu = 0;
/** What the directory believes of a prompt before it has learned otherwise, so that lengths come out as they are. */
const bytesPerToken = 4;
const nodeIdOf = (node: number): NodeId => `n${node}` as NodeId;
const nodeOf = (id: NodeId): number => Number(id.slice(1));

export class Fleet {
  readonly #options: FleetOptions;
  readonly #directory: Directory;
  readonly #words: DigestWords;
  readonly #sequences: number[];
  /** Snapshots that the directory wants: answered as soon as the call that asked is over. */
  readonly #asked: Asked[] = [];
  #requests = 0;

  constructor(options: FleetOptions) {
    const { nodes, cells, policy, seed, blockTokens, digestTokens } = options;
    this.#options = options;
    this.#words = new DigestWords(Math.max(1, Math.round(blockTokens / digestTokens)));
    this.#sequences = Array.from({ length: nodes }, () => 0);
    this.#directory = new Directory({
      secret: seed,
      policies: { policy, shadow: undefined },
      cellReplicasMax: Math.ceil(nodes / cells),
      askSnapshot: (node) => {
        this.#requests += 1;
        this.#asked.push({ node: nodeOf(node), request: this.#requests });
        return this.#requests;
      },
    });
    for (let node = 0; node < nodes; node += 1) this.#join(node);
  }

  /** Decides and books; undefined when the directory has no capacity. */
  place(blocks: readonly number[], promptTokens: number, nowMs: number): Placement | undefined {
    const { blockTokens, random } = this.#options;
    try {
      const { node, reservation } = this.#directory.decide({
        model,
        isStream: true,
        prompt: {
          profile: profile.id,
          chain: this.#words.of(blocks, prefixBlocksMax),
          bytes: promptTokens * bytesPerToken,
          blockBytes: (blockTokens / this.#words.perBlock) * bytesPerToken,
        },
        nowMs,
        isLeased: () => true,
        random,
        // Simulated engines queue by themselves.
        seatsPerReplica: streamsPerLinkMax,
      });
      return { node: nodeOf(node), reservation };
    } catch (thrown) {
      if (thrown instanceof CognitoraError && thrown.code === 'no_capacity') return undefined;
      throw thrown;
    }
  }

  firstByte({ reservation }: Placement, nowMs: number): void {
    this.#directory.firstByte(reservation, nowMs);
  }

  settle({ reservation }: Placement, outcome: Outcome): void {
    this.#directory.settle(reservation, outcome);
  }

  /** The node's agent tells what its engine stored and dropped. */
  delta(node: number, added: readonly number[], removed: readonly number[], nowMs: number): void {
    const sequence = (this.#sequences[node] ?? 0) + 1;
    this.#sequences[node] = sequence;
    const onDevice = (blocks: readonly number[]) =>
      blocks.length === 0 ? [] : [{ tier: 'device' as const, digests: this.#words.of(blocks) }];
    const delta = { feed, sequence, isCleared: false, added: onDevice(added), removed: onDevice(removed) };
    this.#hear(node, { type: 'delta', delta }, nowMs);
  }

  /** The node's agent tells what it measured: power in whole watts, as drivers give it. There is no network here. */
  measured(node: number, watts: number, nowMs: number): void {
    const told = {
      rttMs: 0,
      replicas: [{ name: replica, gpus: [gpu] }],
      gpus: [{ gpu, watts: Math.round(watts) }],
    };
    this.#directory.measured(nodeIdOf(node), epoch, told, nowMs);
  }

  #join(node: number): void {
    const id = nodeIdOf(node);
    const models = [{ id: model, createdSeconds: 1, ownedBy: 'simulation' }];
    this.#directory.join(id, epoch, id, [{ name: replica, state: 'ready', models }], 0);
    this.#hear(node, { type: 'feed', feed: { feed, replica, model, trust: 'exact', profile } }, 0);
    this.#answerEmpty();
  }

  /** Engines begin empty, and no delta is ever lost here: a snapshot is one empty part. */
  #answerEmpty(): void {
    for (let asked = this.#asked.pop(); asked !== undefined; asked = this.#asked.pop()) {
      const { node, request } = asked;
      const snapshot = { feed, request, sequence: 0, part: 0, isLast: true, blocks: [] };
      this.#hear(node, { type: 'snapshot', snapshot }, 0);
    }
  }

  #hear(node: number, message: KvCacheMessage, nowMs: number): void {
    this.#directory.heard(nodeIdOf(node), epoch, message, nowMs);
  }
}
