/**
 * The one filter that every decision goes through: whether a replica may be given a request now, and if not, what keeps
 * it; and who is tried when that leaves only failing ones. Owns the refusal that names all whom the filter kept back.
 * Pure; leases and time come in with each call.
 */
import { CognitoraError, type ErrorCode, type ErrorExtra } from '@cognitora/protocol/errors';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { streamsPerLinkMax } from '@cognitora/protocol/limits';
import type { ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import type { Replica } from './node-entry.ts';

export type Ineligibility =
  | Exclude<ReplicaState, 'ready'>
  /** It does that part of a request alone. */
  | Exclude<ReplicaRole, 'both'>
  /** The operator wants nothing new on its node. */
  | 'cordoned'
  /** Its node's link was not heard for a lease. */
  | 'unleased'
  /** Its link carries as many streams as it may. */
  | 'full'
  /** It failed this very request. */
  | 'tried'
  /** It has as many requests as it has seats: whoever comes waits for one. */
  | 'busy'
  /** It failed several requests in a row, and is left alone or tried by one. */
  | 'failing'
  /** It loads and has not said which models it will serve. */
  | 'unnamed';

export interface EligibilityTerms {
  readonly nowMs: number;
  /** Whether the node's lease holds now. */
  readonly isLeased: (node: NodeId) => boolean;
  /** Who had the request before and failed; without a replica: all of that host's. */
  readonly tried?: readonly TriedPlace[];
  /** Requests that a replica of the model may have at once, as the operator set it; absent: as was learned of it. */
  readonly seatsPerReplica?: number | undefined;
}

export interface ReplicaPlace {
  readonly node: NodeId;
  readonly replica: ReplicaName;
}

export interface TriedPlace {
  readonly node: NodeId;
  readonly replica?: ReplicaName;
}

/** What keeps a replica that serves the model from a request; undefined when nothing does. */
export const ineligibilityOf = (
  { node, name, state, role, work }: Replica,
  { nowMs, isLeased, tried = [], seatsPerReplica }: EligibilityTerms,
): Exclude<Ineligibility, 'unnamed'> | undefined => {
  if (node.isCordoned) return 'cordoned';
  if (role !== 'both') return role;
  if (state !== 'ready') return state;
  if (!isLeased(node.node)) return 'unleased';
  const isTried = ({ node: host, replica = name }: TriedPlace) => host === node.node && replica === name;
  if (tried.some(isTried)) return 'tried';
  let live = 0;
  for (const sibling of node.replicas.values()) live += sibling.work.load.live;
  if (live >= streamsPerLinkMax) return 'full';
  if (work.failures.keepsBack(nowMs)) return 'failing';
  return work.load.live >= (seatsPerReplica ?? work.requestSeats.count) ? 'busy' : undefined;
};

/**
 * Of replicas that are only kept back as failing, the one whose time ends soonest: it is tried when there is nobody
 * else. Undefined when there is none.
 */
export const lastResortOf = (failing: Iterable<Replica>): Replica | undefined => {
  let soonest: Replica | undefined;
  for (const replica of failing) {
    const untilMs = soonest?.work.failures.untilMs ?? Number.POSITIVE_INFINITY;
    if (replica.work.failures.untilMs < untilMs) soonest = replica;
  }
  return soonest;
};

/** One replica that might have served the request, and what kept it. */
export interface KeptBack extends ReplicaPlace {
  readonly why: Ineligibility;
}

/** Of those kept back so many are named; all are counted. A receipt of them takes about 2 KiB. */
export const keptBackShownMax = 32;

/** All whom the filter kept from one request. */
export interface Exclusion {
  readonly replicas: number;
  readonly reasons: Readonly<Partial<Record<Ineligibility, number>>>;
  readonly keptBack: readonly KeptBack[];
}

export const exclusionOf = (
  replicas: Iterable<Replica>,
  whyOf: (replica: Replica) => Ineligibility | undefined,
): Exclusion => {
  const reasons: Partial<Record<Ineligibility, number>> = {};
  const keptBack: KeptBack[] = [];
  let count = 0;
  for (const replica of replicas) {
    const why = whyOf(replica);
    if (why === undefined) continue;
    count += 1;
    reasons[why] = (reasons[why] ?? 0) + 1;
    if (keptBack.length < keptBackShownMax) {
      keptBack.push({ node: replica.node.node, replica: replica.name, why });
    }
  }
  return { replicas: count, reasons, keptBack };
};

/** Why nobody serves a model that is known here, and what to do. */
const nobodyMessage = (shownName: string, { replicas, reasons }: Exclusion): string => {
  const { prefill = 0, decode = 0 } = reasons;
  if (replicas === 0 || prefill + decode < replicas) {
    return `No replica can serve ${shownName} now. Check "cgn nodes", then try again.`;
  }
  const roles = [...(prefill > 0 ? ['prefill'] : []), ...(decode > 0 ? ['decode'] : [])].join(' and ');
  return (
    `${shownName} is served by replicas of the role ${roles} alone, which take no requests by themselves. ` +
    'It needs a replica of the role both.'
  );
};

const routeOf = ({ replicas, reasons }: Exclusion): string =>
  [`replicas=${replicas}`, ...Object.entries(reasons).map(([why, count]) => `${why}=${count}`)].join('; ');

/** Nobody can serve the request. */
export class NoReplicaError extends CognitoraError {
  readonly exclusion: Exclusion;

  constructor(code: ErrorCode, message: string, exclusion: Exclusion, extra: Omit<ErrorExtra, 'route'> = {}) {
    super(code, message, { ...extra, route: routeOf(exclusion) });
    this.exclusion = exclusion;
  }
}

/** What is known when nobody can serve a request. */
export interface RefusalFacts {
  /** Somebody serves the model, or lately did. */
  readonly isKnown: boolean;
  readonly hasNodes: boolean;
  /** Who serves it and was kept back. */
  readonly kept: Exclusion;
  /** Hosts that were linked before this object began are still on their way back. */
  readonly isAwaiting: boolean;
  /** Who served it, or may have, is likely to be back in a moment. */
  readonly isAway: boolean;
  /** Who loads and may serve it once that is done. Asked for only where it matters. */
  readonly unnamed: () => Exclusion;
}

/** `no_capacity` when somebody does serve the model, lately did, or may once it is loaded. */
export const refusalOf = (
  model: string,
  { isKnown, hasNodes, isAwaiting, isAway, kept, unnamed }: RefusalFacts,
): NoReplicaError => {
  const [name, again] = [JSON.stringify(model), { retryAfterSeconds: 5, isAway }];
  if (isKnown) {
    return new NoReplicaError('no_capacity', nobodyMessage(name, kept), kept, again);
  }
  if (isAwaiting) {
    const message = `Nobody serves ${name} yet; the edge has just started, and hosts are still linking.`;
    return new NoReplicaError('no_capacity', message, kept, { retryAfterSeconds: 2, isAway });
  }
  if (!hasNodes) {
    const message = 'No node is connected. Start an agent on a GPU host: "cgn agent --help" tells how.';
    return new NoReplicaError('no_nodes', message, kept, again);
  }
  const loading = unnamed();
  if (loading.replicas > 0) {
    const message = `Nobody serves ${name} yet; one replica loads and has not said what.`;
    return new NoReplicaError('no_capacity', message, loading, again);
  }
  const message = `The model ${name} does not exist here. GET /v1/models lists those that do.`;
  return new NoReplicaError('model_not_found', message, kept, { param: 'model' });
};
