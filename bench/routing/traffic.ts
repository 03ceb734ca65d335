/**
 * What replicas hold after a while of traffic, and what is asked then: conversations that begin with one of a few dozen
 * system prompts and grow by turns, many at a time, so that a turn's blocks arrive in a row and the next one's later.
 * Each is held by one replica and some by a second one in part, now and then on the host. Pure and the same for the
 * same seed, so that Node and workerd measure the same thing. Digests of what is only held are random words: what a map
 * sees of real ones.
 */
import type { Tier } from '@cognitora/protocol/kv';
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

/** What is filled: replicas by number, and how many blocks they hold together. */
export interface Holders {
  readonly entries: number;
  add(digests: Uint32Array, replica: number, tier: Tier): void;
}

export interface Traffic {
  readonly conversations: readonly Conversation[];
  readonly random: Random;
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

/** The bench's draws, all from one seed. */
export class Random {
  readonly word: () => number;

  constructor(seed: number) {
    this.word = randomWords(seed);
  }

  /** Uniform in [0, 1). */
  readonly share = (): number => this.word() / 2 ** 32;

  /** A whole number from `from` up to, but not including, `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.share() * (to - from));
  }

  newBlocks(count: number): Uint32Array {
    return Uint32Array.from({ length: count * 2 }, this.word);
  }
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
  readonly replica: number;
  blocks: number;
}

/** Fills until the asked number of blocks is held. */
export const fill = (holders: Holders, { replicas, blocks, seed, isScattered }: CellPlan): Traffic => {
  const random = new Random(seed);
  const systems = Array.from({ length: systemPrompts }, () =>
    random.newBlocks(random.between(systemBlocksMin, systemBlocksMax)),
  );
  const start = (): Growing => {
    const chain = random.newBlocks(blocksPerPromptMax);
    const system = systems[random.between(0, systems.length)] ?? new Uint32Array();
    chain.set(system);
    const isWhole = random.share() < 0.5;
    const heldBlocks = isWhole ? blocksPerPromptMax : random.between(system.length / 2, blocksPerPromptMax);
    return { chain, heldBlocks, replica: random.between(0, replicas), blocks: 0 };
  };
  /** One turn of a conversation; the first one brings the system prompt. */
  const grow = (growing: Growing): void => {
    const { chain, heldBlocks, replica } = growing;
    const first = growing.blocks === 0 ? systemBlocksMax : 0;
    const end = Math.min(heldBlocks, growing.blocks + first + random.between(turnBlocksMin, turnBlocksMax));
    holders.add(part(chain, growing.blocks, end), replica, 'device');
    growing.blocks = end;
    if (random.share() >= secondShare) return;
    const tier: Tier = random.share() < hostShare ? 'host' : 'device';
    holders.add(part(chain, 0, end), random.between(0, replicas), tier);
  };
  const conversations: Conversation[] = [];
  if (isScattered) {
    scatter(holders, blocks, random, () => {
      const started = start();
      conversations.push(started);
      return started;
    });
  }
  const active = Array.from({ length: activeConversations }, start);
  while (holders.entries < blocks) {
    const index = random.between(0, active.length);
    const growing = active[index] as Growing;
    grow(growing);
    if (growing.blocks < growing.heldBlocks) continue;
    conversations.push(growing);
    active[index] = start();
  }
  return { conversations, random };
};

/** Adds conversations block by block in no order. */
const scatter = (holders: Holders, blocks: number, random: Random, start: () => Growing): void => {
  const all: { readonly of: Growing; readonly block: number }[] = [];
  while (all.length < blocks) {
    const of = start();
    for (let block = 0; block < of.heldBlocks; block += 1) all.push({ of, block });
  }
  for (let left = all.length; left > 1; left -= 1) {
    const other = random.word() % left;
    const last = all[left - 1];
    const drawn = all[other];
    if (last === undefined || drawn === undefined) continue;
    all[other] = last;
    all[left - 1] = drawn;
  }
  for (const { of, block } of all) holders.add(part(of.chain, block, block + 1), of.replica, 'device');
};

/** What is asked: `whole` prompts are held to their last block, the longest walk; `mixed` ones as traffic has them. */
export const workloads = ['mixed', 'whole'] as const;
export type Workload = (typeof workloads)[number];

/** Of mixed prompts: nothing known; all known. The others share a random part and go on with blocks nobody has. */
const coldShare = 0.15;
const wholeShare = 0.15;

/** How many of a prompt's blocks are to be known. */
export const knownBlocksOf = (workload: Workload, blocks: number, random: Random): number => {
  const kind = workload === 'whole' ? 1 : random.share();
  if (kind < coldShare) return 0;
  return kind >= 1 - wholeShare ? blocks : random.between(0, blocks);
};

/** Prompts as digests, made of the conversations that are held. */
export const promptsOf = (traffic: Traffic, workload: Workload, blocks: number, count: number): Prompt[] => {
  const { conversations, random } = traffic;
  const known = conversations.filter(({ heldBlocks }) => heldBlocks >= blocks);
  return Array.from({ length: count }, () => {
    const shared = knownBlocksOf(workload, blocks, random);
    const from = shared === blocks ? known : conversations;
    const chain = from[random.between(0, from.length)]?.chain.slice(0, blocks * 2);
    if (chain === undefined) throw new Error('no conversation is that long');
    chain.set(random.newBlocks(blocks - shared), shared * 2);
    return { chain, blocks };
  });
};
