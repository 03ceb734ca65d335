/** What the directory keeps of a linked node and of each of its replicas. Data only; the directory alone changes it. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { KvFeedOpen } from '@cognitora/protocol/kv';
import type { ModelCard, ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import type { GpuFigures } from './figures.ts';
import { newReplicaWork, type ReplicaWork } from './member.ts';
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
}

export const newReplica = (node: NodeEntry, name: ReplicaName): Replica => ({
  node,
  name,
  state: 'loading',
  role: 'both',
  why: undefined,
  models: [],
  unnamedSinceMs: undefined,
  work: { ...newReplicaWork(node.node, node.gpus), rttMs: node.rttMs },
  seats: new Map(),
});
