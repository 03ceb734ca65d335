/**
 * What of a routing decision is timed: one entry per stage. A stage is set up once per cell and then gives, for each
 * workload and length, prompts and what to do with one. All run production code: the prefix chain, the map, a cell.
 */
import type { Epoch } from '@cognitora/protocol/ids';
import type { Tier } from '@cognitora/protocol/kv';
import { prefixBlockBytesDefault, prefixBlocksMax } from '@cognitora/protocol/limits';
import { type ChainOptions, prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import type { PromptRequest } from '@cognitora/protocol/prefix/layout';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { Cell, type CellRequest } from '../../edge/src/directory/cell.ts';
import type { Reservation } from '../../edge/src/directory/load.ts';
import { type Member, newReplicaWork } from '../../edge/src/directory/member.ts';
import { PrefixMap, prefixMapBytesDefault } from '../../edge/src/directory/prefix-map.ts';
import type { Slot } from '../../edge/src/directory/replica-slots.ts';
import { SnapshotTurns } from '../../edge/src/directory/snapshot-turns.ts';
import { chatOf } from './texts.ts';
import {
  type CellPlan,
  fill,
  type Holders,
  knownBlocksOf,
  promptsOf,
  Random,
  type Traffic,
  tokensPerBlock,
  type Workload,
  workloads,
} from './traffic.ts';

/** What is timed, over as many prompts as are prepared, in turn. */
export interface Timed {
  readonly prompts: number;
  run(prompt: number): void;
  /** What a call leaves to be done after it; timed only where a sample is many calls. */
  tidy?(): void;
}

export interface Stage {
  readonly name: string;
  /** Those that make a difference to it. */
  readonly workloads: readonly Workload[];
  readonly prepare: (plan: CellPlan) => (workload: Workload, promptTokens: number) => Timed;
}

/** Enough that none of a prompt is left in the processor's caches when its turn comes again. */
const chainsPrepared = 512;
const textsPrepared = 128;

export interface MapWorld extends Traffic {
  readonly map: PrefixMap;
  readonly slots: readonly Slot[];
}

export const mapWorldOf = (plan: CellPlan): MapWorld => {
  const map = new PrefixMap({ bytesMax: prefixMapBytesDefault, secret: plan.seed });
  const slots = Array.from({ length: plan.replicas }, () => {
    const slot = map.claim();
    if (slot === undefined) throw new Error('a cell has 64 replicas at most');
    map.show(slot);
    return slot;
  });
  const holders: Holders = {
    get entries() {
      return map.counts.entries;
    },
    add: (digests, replica, tier) => map.add(digests, slots[replica] ?? (0 as Slot), tier),
  };
  return { map, slots, ...fill(holders, plan) };
};

/** All replicas of the cell are eligible. */
export const matchIn = ({ map, slots, ...traffic }: MapWorld): ReturnType<Stage['prepare']> => {
  const lowHalf = Math.min(32, slots.length);
  const maskOf = (count: number): number => (count === 32 ? -1 : 2 ** count - 1);
  const eligibleLo = maskOf(lowHalf);
  const eligibleHi = maskOf(slots.length - lowHalf);
  return (workload, promptTokens) => {
    const prompts = promptsOf(traffic, workload, promptTokens / tokensPerBlock, chainsPrepared);
    return {
      prompts: prompts.length,
      run: (index) => {
        const prompt = prompts[index];
        if (prompt !== undefined) map.match({ ...prompt, eligibleLo, eligibleHi, nowMs: 0 });
      },
    };
  };
};

const chainOptions: ChainOptions = {
  root: rootKey({ salt: 'bench', model: 'bench', adapter: undefined, profile: plainProfile }),
  profile: plainProfile,
  blockBytes: prefixBlockBytesDefault,
  blocksMax: prefixBlocksMax,
};
const charsPerToken = prefixBlockBytesDefault / tokensPerBlock;

const textsOf = (random: Random, promptTokens: number): PromptRequest[] =>
  Array.from({ length: textsPrepared }, () => chatOf(random, promptTokens * charsPerToken));

/** From the parsed request to its digests. */
const digest: Stage = {
  name: 'digest',
  workloads: ['whole'],
  prepare: ({ seed }) => {
    const random = new Random(seed);
    return (_, promptTokens) => {
      const texts = textsOf(random, promptTokens);
      return {
        prompts: texts.length,
        run: (index) => {
          const text = texts[index];
          if (text !== undefined) prefixChain(text, chainOptions);
        },
      };
    };
  },
};

const match: Stage = { name: 'match', workloads, prepare: (plan) => matchIn(mapWorldOf(plan)) };

const epoch = 1 as Epoch;
/** Requests that are live at any time: after each decision the one so many before it ends, without a first byte. */
const liveRequests = 32;
const decisionMs = 1;

interface CellWorld {
  readonly cell: Cell;
  readonly hold: Holders['add'];
  readonly traffic: Traffic;
}

/** A cell that was told by feeds what its replicas hold. */
const cellWorldOf = (plan: CellPlan): CellWorld => {
  const cell = new Cell({ secret: plan.seed, turns: new SnapshotTurns() });
  const members = Array.from({ length: plan.replicas }, () => cell.join(newReplicaWork(), () => 1));
  const sequences = new Map<Member, number>();
  const say = (member: Member, isCleared: boolean, tier: Tier, digests: Uint32Array): void => {
    const sequence = (sequences.get(member) ?? 0) + 1;
    sequences.set(member, sequence);
    member.feed.delta({ epoch, sequence, isCleared, added: [{ tier, digests }], removed: [] }, 0);
  };
  for (const member of members) {
    member.announced = 'exact';
    member.feed.open(epoch, 0);
    say(member, true, 'device', new Uint32Array());
  }
  const hold: Holders['add'] = (digests, replica, tier) => {
    const member = members[replica];
    if (member !== undefined) say(member, false, tier, digests);
  };
  const holders: Holders = {
    get entries() {
      return cell.counts?.entries ?? 0;
    },
    add: hold,
  };
  return { cell, hold, traffic: fill(holders, plan) };
};

/** Digest, match, cost of every replica, choice, booking and prediction. */
export const decision: Stage = {
  name: 'decision',
  workloads,
  prepare: (plan) => {
    const { cell, hold, traffic } = cellWorldOf(plan);
    const { random } = traffic;
    const live: Reservation[] = [];
    let reservations = 0;
    const decide = (text: PromptRequest, promptTokens: number): void => {
      reservations += 1;
      const nowMs = reservations * decisionMs;
      const request: CellRequest = {
        chain: prefixChain(text, chainOptions).digests,
        ...{ promptTokens, blockTokens: tokensPerBlock, isStream: true, nowMs, random: random.share },
        isEligible: () => true,
      };
      const choice = cell.weigh(request);
      if (choice === undefined) throw new Error('all are eligible');
      cell.book(reservations as Reservation, choice, request);
      live.push(reservations as Reservation);
    };
    const endOldest = (): void => {
      const ended = live.length > liveRequests ? live.shift() : undefined;
      if (ended !== undefined) cell.settle(ended, { nowMs: reservations * decisionMs });
    };
    return (workload, promptTokens) => {
      const texts = textsOf(random, promptTokens);
      for (const text of texts) {
        const { digests } = prefixChain(text, chainOptions);
        const known = knownBlocksOf(workload, digests.length / 2, random);
        hold(digests.subarray(0, 2 * known), random.between(0, plan.replicas), 'device');
      }
      return {
        prompts: texts.length,
        run: (index) => {
          const text = texts[index];
          if (text !== undefined) decide(text, promptTokens);
        },
        tidy: endOldest,
      };
    };
  },
};

export const stages: readonly Stage[] = [digest, match, decision];
