/**
 * A cell as traffic leaves it: conversations that begin with one of a few dozen system prompts, each held by one
 * replica and often in part by a second one, some of it on the host. Pure and the same for the same seed, so that Node
 * and workerd measure the same thing. Digests are random words here: what a map sees of real ones.
 */
import { PrefixMap, prefixMapBytesDefault, type Tier } from '../../edge/src/directory/prefix-map.ts';
import type { Slot } from '../../edge/src/directory/replica-slots.ts';
import { randomWords } from './rng.ts';

export const tokensPerBlock = 64;
/** The longest prompt: 32 k tokens. */
export const blocksPerPromptMax = 512;

export interface CellPlan {
  readonly replicas: number;
  readonly blocks: number;
  readonly seed: number;
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

/** Blocks `from` to `to` of a chain. */
const part = (chain: Uint32Array, from: number, to: number): Uint32Array => chain.subarray(from * 2, to * 2);

/** Fills a map of the default budget until it holds the asked number of blocks. */
export const buildCell = ({ replicas, blocks, seed }: CellPlan): Cell => {
  const word = randomWords(seed);
  const random = (): number => word() / 2 ** 32;
  const below = (limit: number): number => Math.floor(random() * limit);
  const newBlocks = (count: number): Uint32Array => Uint32Array.from({ length: count * 2 }, word);
  const map = new PrefixMap({ bytesMax: prefixMapBytesDefault, secret: word() });
  const slots = Array.from({ length: replicas }, () => {
    const slot = map.claim();
    if (slot === undefined) throw new Error('a cell has 64 replicas at most');
    map.show(slot);
    return slot;
  });
  const anySlot = (): Slot => slots[below(slots.length)] ?? (0 as Slot);
  const systems = Array.from({ length: systemPrompts }, () =>
    newBlocks(systemBlocksMin + below(systemBlocksMax - systemBlocksMin)),
  );
  const conversations: Conversation[] = [];
  while (map.counts.entries < blocks) {
    const system = systems[below(systems.length)] ?? new Uint32Array();
    const chain = newBlocks(blocksPerPromptMax);
    chain.set(system);
    const systemBlocks = system.length / 2;
    const own = blocksPerPromptMax - systemBlocks;
    const heldBlocks = random() < 0.5 ? blocksPerPromptMax : systemBlocks + below(own);
    const slot = anySlot();
    map.add(part(chain, 0, heldBlocks), slot, 'device');
    if (random() < 0.3) {
      const second = anySlot();
      const tier: Tier = random() < 0.25 ? 'host' : 'device';
      map.add(part(chain, 0, systemBlocks), second, 'device');
      map.add(part(chain, systemBlocks, systemBlocks + below(own)), second, tier);
    }
    conversations.push({ chain, heldBlocks });
  }
  return { map, slots, conversations, random, newBlocks };
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
