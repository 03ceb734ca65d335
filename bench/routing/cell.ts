/**
 * A cell as traffic leaves it: conversations that begin with one of a few dozen system prompts and grow by turns, many
 * at a time, so that a turn's blocks arrive in a row and the next one's later. Each is held by one replica and some by
 * a second one in part, now and then on the host. Pure and the same for the same seed, so that Node and workerd
 * measure the same thing. Digests are random words here: what a map sees of real ones.
 */
import type { Tier } from '@cognitora/protocol/kv';
import { PrefixMap, prefixMapBytesDefault } from '../../edge/src/directory/prefix-map.ts';
import type { Slot } from '../../edge/src/directory/replica-slots.ts';
import { randomWords } from './rng.ts';

export const tokensPerBlock = 64;
/** The longest prompt: 32 k tokens. */
export const blocksPerPromptMax = 512;

export interface CellPlan {
  readonly replicas: number;
  readonly blocks: number;
  readonly seed: number;
  /** Every block arrives on its own, in no order: what a match costs at worst. */
  readonly isScattered: boolean;
}

export interface Cell {
  readonly map: PrefixMap;
  readonly slots: readonly Slot[];
  readonly conversations: readonly Conversation[];
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly newBlocks: (count: number) => Uint32Array;
}

export interface Conversation {
  /** As many blocks as the longest prompt has, held or not. */
  readonly chain: Uint32Array;
  /** How many of them its replica holds. */
  readonly heldBlocks: number;
}

export interface Prompt {
  readonly chain: Uint32Array;
  readonly blocks: number;
}

const systemPrompts = 48;
/** 1 k to 6 k tokens. */
const systemBlocksMin = 16;
const systemBlocksMax = 96;

/** Conversations that grow at the same time. */
const activeConversations = 64;
/** Blocks of a turn with its answer: 256 to 2,560 tokens. */
const turnBlocksMin = 4;
const turnBlocksMax = 40;
/** Per turn: the conversation moves on to a second replica, which then holds all of it so far, maybe on its host. */
const secondShare = 0.02;
const hostShare = 0.25;

/** Blocks `from` to `to` of a chain. */
const part = (chain: Uint32Array, from: number, to: number): Uint32Array => chain.subarray(from * 2, to * 2);

interface Growing extends Conversation {
  readonly slot: Slot;
  blocks: number;
}

/** Fills a map of the default budget until it holds the asked number of blocks. */
export const buildCell = ({ replicas, blocks, seed, isScattered }: CellPlan): Cell => {
  const word = randomWords(seed);
  const random = (): number => word() / 2 ** 32;
  const between = (from: number, to: number): number => from + Math.floor(random() * (to - from));
  const newBlocks = (count: number): Uint32Array => Uint32Array.from({ length: count * 2 }, word);
  const map = new PrefixMap({ bytesMax: prefixMapBytesDefault, secret: word() });
  const slots = Array.from({ length: replicas }, () => {
    const slot = map.claim();
    if (slot === undefined) throw new Error('a cell has 64 replicas at most');
    map.show(slot);
    return slot;
  });
  const anySlot = (): Slot => slots[between(0, slots.length)] ?? (0 as Slot);
  const systems = Array.from({ length: systemPrompts }, () =>
    newBlocks(between(systemBlocksMin, systemBlocksMax)),
  );
  const start = (): Growing => {
    const chain = newBlocks(blocksPerPromptMax);
    const system = systems[between(0, systems.length)] ?? new Uint32Array();
    chain.set(system);
    const heldBlocks = random() < 0.5 ? blocksPerPromptMax : between(system.length / 2, blocksPerPromptMax);
    return { chain, heldBlocks, slot: anySlot(), blocks: 0 };
  };
  /** One turn of a conversation; the first one brings the system prompt. */
  const grow = (growing: Growing): void => {
    const { chain, heldBlocks, slot } = growing;
    const first = growing.blocks === 0 ? systemBlocksMax : 0;
    const end = Math.min(heldBlocks, growing.blocks + first + between(turnBlocksMin, turnBlocksMax));
    map.add(part(chain, growing.blocks, end), slot, 'device');
    growing.blocks = end;
    if (random() >= secondShare) return;
    const tier: Tier = random() < hostShare ? 'host' : 'device';
    map.add(part(chain, 0, end), anySlot(), tier);
  };
  const conversations: Conversation[] = [];
  if (isScattered)
    scatter(map, blocks, word, () => conversations[conversations.push(start()) - 1] as Growing);
  const active = Array.from({ length: activeConversations }, start);
  while (map.counts.entries < blocks) {
    const index = between(0, active.length);
    const growing = active[index] as Growing;
    grow(growing);
    if (growing.blocks < growing.heldBlocks) continue;
    conversations.push(growing);
    active[index] = start();
  }
  return { map, slots, conversations, random, newBlocks };
};

/** Adds conversations block by block in no order. */
const scatter = (map: PrefixMap, blocks: number, word: () => number, start: () => Growing): void => {
  const all: { readonly of: Growing; readonly block: number }[] = [];
  while (all.length < blocks) {
    const of = start();
    for (let block = 0; block < of.heldBlocks; block += 1) all.push({ of, block });
  }
  for (let left = all.length; left > 1; left -= 1) {
    const other = word() % left;
    const last = all[left - 1];
    const drawn = all[other];
    if (last === undefined || drawn === undefined) continue;
    all[other] = last;
    all[left - 1] = drawn;
  }
  for (const { of, block } of all) map.add(part(of.chain, block, block + 1), of.slot, 'device');
};

/** What is asked: `whole` prompts are held to their last block, the longest walk; `mixed` ones as traffic has them. */
export const workloads = ['mixed', 'whole'] as const;
export type Workload = (typeof workloads)[number];

/** Of mixed prompts: nothing known; all known. The others share a random part and go on with blocks nobody has. */
const coldShare = 0.15;
const wholeShare = 0.15;

export const promptsOf = (cell: Cell, workload: Workload, blocks: number, count: number): Prompt[] => {
  const known = cell.conversations.filter(({ heldBlocks }) => heldBlocks >= blocks);
  const pick = (from: readonly Conversation[]): Uint32Array =>
    from[Math.floor(cell.random() * from.length)]?.chain.slice(0, blocks * 2) ?? cell.newBlocks(blocks);
  return Array.from({ length: count }, () => {
    const kind = workload === 'whole' ? 1 : cell.random();
    if (kind < coldShare) return { chain: cell.newBlocks(blocks), blocks };
    if (kind >= 1 - wholeShare) return { chain: pick(known), blocks };
    const chain = pick(cell.conversations);
    const shared = Math.floor(cell.random() * blocks);
    chain.set(cell.newBlocks(blocks - shared), shared * 2);
    return { chain, blocks };
  });
};
