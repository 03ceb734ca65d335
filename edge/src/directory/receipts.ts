/**
 * Why requests went where they went: the latest decisions of a region, each with what was considered and how it
 * ended, or with who was kept back and by what. Ends are found by reservation, since a client may use a request's id
 * many times at once. Pure; bounded; forgotten with the object. Holds no prompt and no key.
 */
import type { ErrorCode } from '@cognitora/protocol/errors';
import type { NodeId, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { Trust } from '@cognitora/protocol/kv';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import type { RefusalNote } from '../admission/refusal.ts';
import type { CarriedEnd } from '../link/carried-response.ts';
import type { Cell, Choice } from './cell.ts';
import type { Decision } from './decision.ts';
import type { Exclusion, ReplicaPlace } from './eligibility.ts';
import type { Reservation } from './load.ts';
import type { Replica } from './node-entry.ts';
import type { CellVerdict, ServedModel } from './served-model.ts';

/** Decisions that are remembered: with eight candidates each about 2 MiB. */
export const receiptsMax = 1_024;
/** Of those under one id so many are shown: an answer of 64 KiB. */
export const receiptsPerIdMax = 32;
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
  /** Context tokens of those. */
  readonly decodingTokens: number;
  /** Uncached prompt tokens of requests that wait for their first byte. */
  readonly waitingTokens: number;
  readonly waitMs: number;
  readonly prefillMs: number;
  /** To fetch the prompt's beginning first; 0 where that would not be faster. */
  readonly fetchMs: number;
  readonly stepMs: number;
  readonly rttMs: number;
  /** Blocks that its cache evicts for each one it stores, 0 to 1. */
  readonly evictionShare: number;
  /** What its GPUs draw; absent where nobody measures. */
  readonly watts: number | undefined;
  /** Its agent told of its engine's requests once, and fell silent: it counts as full. */
  readonly isStale: boolean;
}

/** Where the request was before, and why it is not there any more; without a node nobody was chosen. */
export interface EarlierAttempt extends Partial<ReplicaPlace> {
  readonly region: Region;
  readonly code: ErrorCode;
}

/** What a decision is for: a request that begins, one that failed elsewhere, or an answer that goes on. */
export type Occasion = 'first' | 'retried' | 'resumed' | 'continued';

/** Decisions that found a replica, by what they were for. */
export type Placed = Readonly<Record<Occasion, number>>;

/** Of a receipt, what the decision itself does not know. */
export interface ReceiptSubject {
  readonly requestId: RequestId;
  readonly region: Region;
  readonly model: string;
  readonly decidedAtMs: number;
  /** Digests of the prompt: none of one that is shorter than a block, or that nobody read. */
  readonly promptBlocks: number;
  /** Of a block, at four bytes each, as in most text. */
  readonly blockTokens: number;
  /** In the order they were asked; empty for the first. */
  readonly earlier: readonly EarlierAttempt[];
  readonly occasion: Occasion;
  /** How long it waited for a seat. */
  readonly queuedMs: number;
}

/** A replica was chosen. */
export interface PlacedReceipt extends ReceiptSubject {
  readonly outcome: 'placed';
  readonly policy: string;
  readonly node: NodeId;
  readonly replica: ReplicaName;
  readonly trust: Trust;
  /** As far as the edge can tell without a tokenizer; undefined of a prompt that nobody read. */
  readonly promptTokens: number | undefined;
  /** Of these, what the cost counted as cached, by tier and by how true the replica's claims were, or as fetched. */
  readonly expectedTokens: number;
  /** Where the replica had better fetch the prompt's beginning from. */
  readonly kvFrom: KvSource | undefined;
  readonly candidates: number;
  readonly considered: readonly CandidateView[];
  /** Replicas that were left out as failing; and whether the chosen one is, and is tried. */
  readonly failing: number;
  readonly isTrial: boolean;
  /** And those of the chosen cell that were left out since their agents fell silent about their load. */
  readonly stale: number;
  readonly cells: CellVerdict;
  /** Absent while the request runs. */
  readonly ended?: CarriedEnd & { readonly atMs: number };
}

/** Nobody could be chosen. */
export interface RefusedReceipt extends ReceiptSubject, Exclusion {
  readonly outcome: 'refused';
  readonly code: ErrorCode;
  /** Which limit kept it out; absent where none did. */
  readonly admission?: RefusalNote;
}

export type Receipt = PlacedReceipt | RefusedReceipt;

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
    const { live, decoding, decodingTokens, waitMs, prefillMs, fetch } = candidate;
    const { stepMs, rttMs, watts, isStale } = candidate;
    return {
      node: owner.node.node,
      replica: owner.name,
      trust: member.trust,
      cost: rounded(costs[index] ?? 0),
      cachedTokens: Math.round(candidate.cachedTokens),
      live,
      decoding,
      decodingTokens,
      waitingTokens: Math.round(candidate.waitingTokens),
      waitMs: rounded(waitMs),
      prefillMs: rounded(prefillMs),
      fetchMs: rounded(fetch?.ms ?? 0),
      stepMs: rounded(stepMs),
      rttMs: rounded(rttMs),
      evictionShare: rounded(candidate.evictionShare),
      watts,
      isStale,
    };
  });
};

export const viewVerdict = ({ asked, ...verdict }: CellVerdict): CellVerdict => ({
  ...verdict,
  asked: asked.map((cell) => ({ ...cell, cost: cell.cost === undefined ? undefined : rounded(cell.cost) })),
});

/** What every answer tells of the decision, as the values of two headers. */
export interface ReceiptNote {
  readonly cache: string;
  readonly route: string;
}

export const noteOf = (decision: Decision, earlier: readonly EarlierAttempt[], queuedMs = 0): ReceiptNote => {
  const { expectedTokens, promptTokens, trust, policy, candidates, failing, replica } = decision;
  const after = earlier.map(({ region, code }) => `${region}:${code}`).join(',');
  return {
    cache: [
      `predicted=${Math.round(expectedTokens)}`,
      ...(promptTokens === undefined ? [] : [`prompt=${promptTokens}`]),
      `trust=${trust}`,
    ].join('; '),
    // Whatever a host calls its replica: a header's value has no room for it.
    route: [
      `replica=${encodeURIComponent(replica)}; policy=${policy}; candidates=${candidates}`,
      ...(failing === 0 ? [] : [`failing=${failing}`]),
      ...(queuedMs === 0 ? [] : [`queued=${queuedMs}`]),
      ...(after === '' ? [] : [`after=${after}`]),
    ].join('; '),
  };
};

interface Remembered {
  receipt: Receipt;
  readonly reservation: Reservation | undefined;
}

export class Receipts {
  readonly #placed: Record<Occasion, number> = { first: 0, retried: 0, resumed: 0, continued: 0 };
  /** Oldest first. */
  readonly #latest = new Set<Remembered>();
  /** Of those, the requests that run. */
  readonly #live = new Map<Reservation, Remembered>();

  decided(about: ReceiptSubject, decision: Decision): void {
    const { reservation, epoch: _, ...shown } = decision;
    const remembered = { receipt: { ...about, outcome: 'placed' as const, ...shown }, reservation };
    this.#live.set(reservation, remembered);
    this.#placed[about.occasion] += 1;
    this.#remember(remembered);
  }

  refused(
    about: ReceiptSubject,
    refusal: { readonly code: ErrorCode; readonly exclusion: Exclusion; readonly admission?: RefusalNote },
  ): void {
    const { code, exclusion, admission } = refusal;
    const why = { code, ...exclusion, ...(admission && { admission }) };
    this.#remember({ receipt: { ...about, outcome: 'refused', ...why }, reservation: undefined });
  }

  ended(reservation: Reservation, atMs: number, { bodyBytes: _, ...end }: CarriedEnd): void {
    const remembered = this.#live.get(reservation);
    if (remembered?.receipt.outcome !== 'placed') return;
    this.#live.delete(reservation);
    remembered.receipt = { ...remembered.receipt, ended: { atMs, ...end } };
  }

  /** How many decisions found a replica, since the object began. */
  get placed(): Placed {
    return { ...this.#placed };
  }

  /** The latest decisions under this id, newest first: a client may use an id for many requests. */
  of(requestId: RequestId): readonly Receipt[] {
    const found: Receipt[] = [];
    for (const { receipt } of this.#latest) if (receipt.requestId === requestId) found.push(receipt);
    return found.reverse().slice(0, receiptsPerIdMax);
  }

  #remember(remembered: Remembered): void {
    this.#latest.add(remembered);
    for (const oldest of this.#latest) {
      if (this.#latest.size <= receiptsMax) return;
      this.#latest.delete(oldest);
      if (oldest.reservation !== undefined) this.#live.delete(oldest.reservation);
    }
  }
}
