/**
 * Why requests went where they went: the latest decisions of a region, each with what was considered and how it ended.
 * Pure; bounded; forgotten with the object. Holds no prompt and no key.
 */
import type { NodeId, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import type { FinalRecord } from '@cognitora/protocol/link';
import type { Cell, Choice } from './cell.ts';
import type { Decision, Replica } from './directory.ts';
import type { ServedModel } from './served-model.ts';

/** Requests that are remembered: with eight candidates each about 2 MiB. */
export const receiptsMax = 1_024;
/** Of the candidates the cheapest are shown. */
const consideredMax = 8;

/** One replica that could have served the request, in the terms that its cost was made of. */
export interface CandidateView {
  readonly node: NodeId;
  readonly replica: ReplicaName;
  readonly trust: Trust;
  readonly cost: number;
  /** Of this prompt, weighed by tier and by how true its claims were. */
  readonly cachedTokens: number;
  readonly live: number;
  readonly decoding: number;
  readonly waitMs: number;
  readonly prefillMs: number;
  readonly stepMs: number;
  readonly rttMs: number;
  /** Blocks that its cache evicts for each one it stores, 0 to 1. */
  readonly evictionShare: number;
}

export interface Receipt {
  readonly requestId: RequestId;
  readonly region: Region;
  readonly model: string;
  readonly decidedAtMs: number;
  readonly policy: string;
  readonly node: NodeId;
  readonly replica: ReplicaName;
  readonly trust: Trust;
  /** As far as the edge can tell without a tokenizer. */
  readonly promptTokens: number;
  readonly promptBlocks: number;
  readonly expectedTokens: number;
  readonly candidates: number;
  readonly considered: readonly CandidateView[];
  /** Absent while the request runs; `record` is absent when the agent never said how it ended. */
  readonly ended?: { readonly atMs: number; readonly record?: FinalRecord };
}

/** Of a receipt, what the decision itself does not know. */
export type ReceiptSubject = Pick<Receipt, 'requestId' | 'region' | 'model' | 'decidedAtMs' | 'promptBlocks'>;

const rounded = (value: number): number => Math.round(value * 100) / 100;

/** The cheapest of what a choice was made from; the chosen one first among equals. */
export const viewCandidates = (
  served: ServedModel<Replica>,
  cell: Cell,
  { candidates, costs, candidate: chosen }: Choice,
): readonly CandidateView[] => {
  const order = candidates.map((_, index) => index);
  const isChosen = (index: number): number => (candidates[index] === chosen ? 1 : 0);
  order.sort((left, right) => (costs[left] ?? 0) - (costs[right] ?? 0) || isChosen(right) - isChosen(left));
  return order.slice(0, consideredMax).flatMap((index) => {
    const candidate = candidates[index];
    const member = candidate === undefined ? undefined : cell.memberAt(candidate.number);
    const owner = member === undefined ? undefined : served.ownerOf(member);
    if (candidate === undefined || member === undefined || owner === undefined) return [];
    const { live, decoding, waitMs, prefillMs, stepMs, rttMs, evictionShare, cachedTokens } = candidate;
    return {
      node: owner.node.node,
      replica: owner.name,
      trust: member.trust,
      cost: rounded(costs[index] ?? 0),
      cachedTokens: Math.round(cachedTokens),
      live,
      decoding,
      waitMs: rounded(waitMs),
      prefillMs: rounded(prefillMs),
      stepMs: rounded(stepMs),
      rttMs: rounded(rttMs),
      evictionShare: rounded(evictionShare),
    };
  });
};

/** What every answer tells of the decision, as the values of two headers. */
export interface ReceiptNote {
  readonly cache: string;
  readonly route: string;
}

export const noteOf = (decision: Decision): ReceiptNote => {
  const { expectedTokens, promptTokens, trust, policy, candidates, replica } = decision;
  return {
    cache: `predicted=${Math.round(expectedTokens)}; prompt=${promptTokens}; trust=${trust}`,
    // Whatever a host calls its replica: a header's value has no room for it.
    route: `replica=${encodeURIComponent(replica)}; policy=${policy}; candidates=${candidates}`,
  };
};

export class Receipts {
  readonly #byRequest = new Map<RequestId, Receipt>();

  /** A client may use an id twice: the latest counts. */
  decided(about: ReceiptSubject, decision: Decision): void {
    const { reservation: _, epoch: __, ...shown } = decision;
    this.#byRequest.delete(about.requestId);
    this.#byRequest.set(about.requestId, { ...about, ...shown });
    for (const oldest of this.#byRequest.keys()) {
      if (this.#byRequest.size <= receiptsMax) return;
      this.#byRequest.delete(oldest);
    }
  }

  ended(requestId: RequestId, atMs: number, record: FinalRecord | undefined): void {
    const known = this.#byRequest.get(requestId);
    if (known === undefined || known.ended !== undefined) return;
    this.#byRequest.set(requestId, {
      ...known,
      ended: { atMs, ...(record === undefined ? {} : { record }) },
    });
  }

  get(requestId: RequestId): Receipt | undefined {
    return this.#byRequest.get(requestId);
  }
}
