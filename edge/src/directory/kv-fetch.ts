/**
 * Whether a replica had better fetch the beginning of a prompt from another host than compute it. Pure. Who may give:
 * nodes whose KV daemon holds it, so the host's tier alone, for replicas of the same namespace within the same cell.
 * What it takes is the way there, the bytes, and their way into the engine, by the figures of the host that fetches;
 * that several fetch at once from one host, or another holds up the way, is not counted.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { Candidate } from '../policy/policy.ts';
import { tokensIn } from './candidates.ts';
import type { CellMaps } from './cell-maps.ts';
import type { Member } from './member.ts';
import { replicasPerCellMax } from './replica-slots.ts';

/** A replica whose host can give the beginning of the prompt. */
export interface KvGiver {
  readonly node: NodeId;
  readonly namespace: string;
  /** So many of the prompt's blocks, from its first. */
  readonly blocks: number;
}

/** Of those who could give the ones with most are looked at, so that a popular prompt costs no more than others. */
const giversMax = 8;

const none: readonly KvGiver[] = [];
const depths = new Uint16Array(replicasPerCellMax);

export interface GiversOptions {
  readonly members: readonly (Member | undefined)[];
  readonly maps: Pick<CellMaps, 'matchHost'>;
  readonly chain: Uint32Array;
  readonly isLeased: (node: NodeId) => boolean;
}

/** Those who can give the most, the longest beginnings first. Nobody, at once, where no KV moves between hosts. */
export const giversOf = ({ members, maps, chain, isLeased }: GiversOptions): readonly KvGiver[] => {
  let lo = 0;
  let hi = 0;
  for (const member of members) {
    if (member?.work.kv === undefined || member.slot === undefined) continue;
    if (member.slot < 32) lo |= 1 << member.slot;
    else hi |= 1 << member.slot;
  }
  // One alone has nobody to give to.
  if (chain.length === 0 || bitsOf(lo) + bitsOf(hi) < 2) return none;
  if (!maps.matchHost({ chain, blocks: chain.length / 2, eligibleLo: lo, eligibleHi: hi }, depths))
    return none;
  const givers: KvGiver[] = [];
  for (const member of members) {
    const { kv, node } = member?.work ?? {};
    const blocks = depths[member?.slot ?? -1] ?? 0;
    if (member === undefined || kv === undefined || node === undefined || blocks === 0) continue;
    if (!isLeased(node)) continue;
    givers.push({ node, namespace: kv.mover.namespace, blocks });
  }
  return givers.sort((one, other) => other.blocks - one.blocks).slice(0, giversMax);
};

const bitsOf = (word: number): number => {
  let bits = 0;
  for (let left = word; left !== 0; left &= left - 1) bits += 1;
  return bits;
};

interface FetchPrompt {
  readonly promptTokens: number;
  readonly blockTokens: number;
  readonly nowMs: number;
}

/** Writes into the candidate, who is this member, the fetch that spares most time; nothing when none spares any. */
export const suggestFetch = (
  candidate: Candidate,
  { work }: Member,
  givers: readonly KvGiver[],
  prompt: FetchPrompt,
): void => {
  const { kv, rates, node } = work;
  if (kv === undefined || rates === undefined) return;
  const { namespace, bytesPerToken, insertBytesPerMs } = kv.mover;
  const { prefillMs: wholeMs, cachedTokens, decoding } = candidate;
  const { promptTokens, nowMs } = prompt;
  let leastMs = wholeMs;
  for (const giver of givers) {
    const reached = kv.reach.get(giver.node);
    if (reached === undefined || giver.namespace !== namespace || giver.node === node) continue;
    const tokens = tokensIn(giver.blocks, prompt);
    if (tokens <= cachedTokens) continue;
    const bytes = tokens * bytesPerToken;
    const fetchMs = reached.rttMs + bytes / reached.bytesPerMs + bytes / insertBytesPerMs;
    const terms = { uncachedTokens: promptTokens - tokens, contextTokens: promptTokens, decoding };
    const prefillMs = rates.prefillMs(terms, nowMs);
    // Written so that what is no number spares nothing.
    if (!(fetchMs + prefillMs < leastMs)) continue;
    leastMs = fetchMs + prefillMs;
    candidate.prefillMs = prefillMs;
    candidate.fetch = {
      ...{ from: giver.node, blocks: giver.blocks, ms: fetchMs, tokens: tokens - cachedTokens },
      gain: (wholeMs - leastMs) / (wholeMs - prefillMs),
    };
  }
};
