/**
 * The directory of a region whose nodes have one replica each and whose agents told it what those hold: what a request
 * meets once it is digested. Tells the directory just what links tell it. Times nothing.
 */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { Tier } from '@cognitora/protocol/kv';
import { streamsPerLinkMax } from '@cognitora/protocol/limits';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import type { PromptView } from '../../edge/src/directory/decision.ts';
import { Directory } from '../../edge/src/directory/directory.ts';
import type { Reservation } from '../../edge/src/directory/load.ts';
import type { KvCacheMessage } from '../../edge/src/link/kv-intake.ts';
import type { Holders } from './traffic.ts';

export interface BenchRegionOptions {
  readonly replicas: number;
  readonly model: string;
  readonly seed: number;
}

const epoch = 1 as Epoch;
const replicaName = 'r0' as ReplicaName;
/** A node's only feed. */
const feed = 1;
const nodeOf = (replica: number): NodeId => `node-${replica}` as NodeId;

export class BenchRegion implements Holders {
  readonly #model: string;
  readonly #directory: Directory;
  readonly #sequences: number[];

  constructor({ replicas, model, seed }: BenchRegionOptions) {
    this.#model = model;
    // Each feed begins with a delta that clears it, so no snapshot is waited for.
    this.#directory = new Directory({ secret: seed, askSnapshot: () => 1 });
    this.#sequences = Array.from({ length: replicas }, () => 0);
    for (let replica = 0; replica < replicas; replica += 1) this.#join(replica);
  }

  get entries(): number {
    return this.#directory.served().get(this.#model)?.cells.get(0)?.counts?.entries ?? 0;
  }

  add(digests: Uint32Array, replica: number, tier: Tier): void {
    this.#say(replica, false, digests, tier);
  }

  decide(prompt: PromptView, nowMs: number, random: () => number): Reservation {
    const { reservation } = this.#directory.decide({
      ...{ model: this.#model, prompt, isStream: true, nowMs, random },
      isLeased: () => true,
      seatsPerReplica: streamsPerLinkMax,
    });
    return reservation;
  }

  /** The request failed before its first byte. */
  end(reservation: Reservation, nowMs: number): void {
    this.#directory.settle(reservation, { nowMs });
  }

  #join(replica: number): void {
    const node = nodeOf(replica);
    const models = [{ id: this.#model, createdSeconds: 1, ownedBy: 'bench' }];
    this.#directory.join(node, epoch, node, [{ name: replicaName, state: 'ready', models }], 0);
    const open = {
      feed,
      replica: replicaName,
      model: this.#model,
      trust: 'exact',
      profile: plainProfile,
    } as const;
    this.#hear(replica, { type: 'feed', feed: open });
    this.#say(replica, true, new Uint32Array(), 'device');
  }

  #say(replica: number, isCleared: boolean, digests: Uint32Array, tier: Tier): void {
    const sequence = (this.#sequences[replica] ?? 0) + 1;
    this.#sequences[replica] = sequence;
    const added = [{ tier, digests }];
    this.#hear(replica, { type: 'delta', delta: { feed, sequence, isCleared, added, removed: [] } });
  }

  #hear(replica: number, message: KvCacheMessage): void {
    this.#directory.heard(nodeOf(replica), epoch, message, 0);
  }
}
