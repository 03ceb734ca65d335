/** What people and dashboards see of a node: its replicas, their load, how well their caches are known. Views only. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import type { KvPeer } from '@cognitora/protocol/kv-fabric';
import type { ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import type { GpuView, LoadView } from './figures.ts';
import type { NodeEntry, Replica } from './node-entry.ts';

/** What is known of a replica's cache of one model. */
export interface CacheView {
  readonly model: string;
  readonly trust: Trust;
  /** Blocks of prompts that the map holds of it. */
  readonly heldBlocks: number;
  /** Those of them that its host keeps beside the engine. */
  readonly hostBlocks: number;
  /** Of its latest requests: cached tokens that were predicted, and those of them that the engine had. */
  readonly predictedTokens: number;
  readonly confirmedTokens: number;
  /** Reports of it that came too fast to be read. */
  readonly missedReports: number;
}

export interface ReplicaView {
  readonly name: ReplicaName;
  readonly state: ReplicaState;
  readonly role: ReplicaRole;
  /** Of one that failed, in its agent's words. */
  readonly why?: string;
  readonly models: readonly string[];
  readonly caches: readonly CacheView[];
  readonly live: number;
  /** Requests that it may have at once, as was learned; absent: its agent does not tell. */
  readonly seats: number;
  /** Absent while nobody knows. */
  readonly load?: LoadView;
  /** Its agent told of its engine's requests once, and fell silent: it gets none while others can. */
  readonly isStale: boolean;
  /** It failed its latest requests, and gets one at a time now and then. */
  readonly failing: boolean;
}

export interface NodeView {
  readonly node: NodeId;
  readonly name: string;
  readonly epoch: Epoch;
  readonly connectedAtMs: number;
  readonly cordoned: boolean;
  readonly live: number;
  readonly replicas: readonly ReplicaView[];
  /** Those of which something is known. */
  readonly gpus: readonly GpuView[];
  readonly kv?: KvPeerView;
}

/** The KV daemon of a node that has one in the fleet: where it listens, whom it reaches, and whose KV it moves. */
export type KvPeerView = Omit<KvPeer, 'publicKey'>;

const viewReplica = (
  { name, state, role, why, models, seats, work }: Replica,
  nowMs: number,
): ReplicaView => {
  const load = work.figures.view(nowMs);
  return {
    name,
    state,
    role,
    ...(why === undefined ? {} : { why }),
    models: models.map(({ id }) => id),
    caches: [...seats].map(([model, { cell, member }]) => ({
      model,
      trust: member.trust,
      heldBlocks: cell.heldBlocks(member),
      hostBlocks: cell.hostBlocks(member),
      predictedTokens: member.truth.predictedTokens,
      confirmedTokens: member.truth.confirmedTokens,
      missedReports: member.missedReports,
    })),
    live: work.load.live,
    failing: work.failures.isFailing,
    isStale: work.figures.isStale(nowMs),
    seats: work.requestSeats.count,
    ...(load === undefined ? {} : { load }),
  };
};

const viewKv = ({ addresses, reach, replicas }: KvPeer): KvPeerView => ({ addresses, reach, replicas });

export const viewNode = (
  { replicas, isCordoned, gpus, kv, ...entry }: NodeEntry,
  nowMs: number,
): NodeView => {
  const views = [...replicas.values()].map((replica) => viewReplica(replica, nowMs));
  const live = views.reduce((sum, replica) => sum + replica.live, 0);
  const users = [...replicas.values()].map(({ name, work }) => [name, work.figures.gpus(nowMs)] as const);
  const { node, name, epoch, connectedAtMs } = entry;
  return {
    ...{ node, name, epoch, connectedAtMs, cordoned: isCordoned, live, replicas: views },
    gpus: gpus.view(users, nowMs),
    ...(kv === undefined ? {} : { kv: viewKv(kv.peer) }),
  };
};
