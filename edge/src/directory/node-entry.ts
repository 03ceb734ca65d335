/** What the directory keeps of a linked node and of each of its replicas. Data only; the directory alone changes it. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { KvFeedOpen } from '@cognitora/protocol/kv';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import type { ModelCard, ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import type { Seats } from '../admission/seats.ts';
import type { GpuFigures } from './figures.ts';
import { type KvMoves, newReplicaWork, type ReplicaWork } from './member.ts';
import type { Seat } from './served-model.ts';

export interface Replica {
  readonly node: NodeEntry;
  readonly name: ReplicaName;
  state: ReplicaState;
  role: ReplicaRole;
  /** Of one that failed, as its agent words it. */
  why: string | undefined;
  models: readonly ModelCard[];
  /** Since when it may be loading without having said what; undefined for any other. */
  unnamedSinceMs: number | undefined;
  readonly work: ReplicaWork;
  /** By model. */
  readonly seats: Map<string, Seat>;
}

export interface NodeEntry {
  readonly node: NodeId;
  readonly name: string;
  readonly epoch: Epoch;
  readonly connectedAtMs: number;
  rttMs: number;
  readonly gpus: GpuFigures;
  /** The operator keeps new requests from it. */
  isCordoned: boolean;
  replicas: Map<ReplicaName, Replica>;
  /** What its agent says of caches, by the feed's number. */
  readonly feeds: Map<number, KvFeedOpen>;
  /** Of its KV daemon, if it has one that belongs to the fleet. */
  kv: NodeKv | undefined;
}

export interface NodeKv {
  readonly peer: KvPeer;
  /** What that says of reach, by node. */
  readonly reach: ReadonlyMap<NodeId, PeerReach>;
}

export const nodeKvOf = (peer: KvPeer): NodeKv => ({
  peer,
  reach: new Map(peer.reach.map((reached) => [reached.node, reached])),
});

/** How the KV of a node's replica moves, by what its agent told last. */
export const kvMovesOf = ({ kv }: NodeEntry, name: ReplicaName): KvMoves | undefined => {
  const mover = kv?.peer.replicas.find((replica) => replica.name === name);
  return kv === undefined || mover === undefined ? undefined : { mover, reach: kv.reach };
};

export const newReplica = (node: NodeEntry, name: ReplicaName, seats: Seats): Replica => ({
  node,
  name,
  state: 'loading',
  role: 'both',
  why: undefined,
  models: [],
  unnamedSinceMs: undefined,
  work: { ...newReplicaWork(node.node, node.gpus, seats), rttMs: node.rttMs, kv: kvMovesOf(node, name) },
  seats: new Map(),
});
