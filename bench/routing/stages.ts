/**
 * What of a routing decision is timed: one entry per stage. A stage is set up once per cell and then gives, for each
 * workload and length, prompts and what to do with one. All run production code: the digests of a prompt,
 * the map, a directory.
 */
import { prefixBlockBytesDefault } from '@cognitora/protocol/limits';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import type { PromptView } from '../../edge/src/directory/decision.ts';
import type { Reservation } from '../../edge/src/directory/load.ts';
import { PrefixMap, prefixMapBytesDefault } from '../../edge/src/directory/prefix-map.ts';
import type { Slot } from '../../edge/src/directory/replica-slots.ts';
import { PromptDigests, type PromptSource } from '../../edge/src/prompt-digests.ts';
import { BenchRegion } from './region.ts';
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

const model = 'bench';
const prefix = { salt: 'bench', blockBytes: prefixBlockBytesDefault };
const charsPerToken = prefixBlockBytesDefault / tokensPerBlock;

const textsOf = (random: Random, promptTokens: number): PromptSource[] =>
  Array.from({ length: textsPrepared }, () => {
    const { path, body } = chatOf(random, promptTokens * charsPerToken);
    return { path, model, body, bodyBytes: promptTokens * charsPerToken, prefix };
  });

const digestsOf = (text: PromptSource): PromptView => {
  const view = new PromptDigests(text).by(plainProfile);
  if (view === undefined) throw new Error('a chat can be digested');
  return view;
};

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
          if (text !== undefined) digestsOf(text);
        },
      };
    };
  },
};

const match: Stage = { name: 'match', workloads, prepare: (plan) => matchIn(mapWorldOf(plan)) };

/** Requests that are live at any time: after each decision the one so many before it ends, without a first byte. */
const liveRequests = 32;
const decisionMs = 1;

/** Digest, then all that a region does in the turn of a decision. */
export const decision: Stage = {
  name: 'decision',
  workloads,
  prepare: (plan) => {
    const region = new BenchRegion({ ...plan, model });
    const traffic = fill(region, plan);
    const { random } = traffic;
    const live: Reservation[] = [];
    let nowMs = 0;
    const decide = (text: PromptSource): void => {
      nowMs += decisionMs;
      live.push(region.decide(digestsOf(text), nowMs, random.share));
    };
    const endOldest = (): void => {
      const ended = live.length > liveRequests ? live.shift() : undefined;
      if (ended !== undefined) region.end(ended, nowMs);
    };
    return (workload, promptTokens) => {
      const texts = textsOf(random, promptTokens);
      for (const text of texts) {
        const { chain } = digestsOf(text);
        const known = knownBlocksOf(workload, chain.length / 2, random);
        region.add(chain.subarray(0, 2 * known), random.between(0, plan.replicas), 'device');
      }
      return {
        prompts: texts.length,
        run: (index) => {
          const text = texts[index];
          if (text !== undefined) decide(text);
        },
        tidy: endOldest,
      };
    };
  },
};

export const stages: readonly Stage[] = [digest, match, decision];
