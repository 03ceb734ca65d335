/**
 * How far a recipe is on its way up, and how long each stage took: read from what the agent says of its engines and
 * from how much of the model is on the disk. Pure; the keeper looks.
 */
import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { engineWords } from '@cognitora/protocol/engine-words';
import { byteSize } from '../terminal.ts';

/** In the order in which they come; one that takes no time is left out. */
export const stages = ['check', 'start', 'download', 'load', 'answer'] as const;
export type Stage = (typeof stages)[number];

export type StageTimes = Readonly<Partial<Record<Stage, number>>>;

/** Adds up the time in each stage, which may come again: a second engine downloads while the first one loads. */
export class StageClock {
  readonly #ms = new Map<Stage, number>();
  #stage: Stage;
  #sinceMs: number;

  constructor(stage: Stage, nowMs: number) {
    this.#stage = stage;
    this.#sinceMs = nowMs;
  }

  enter(stage: Stage, nowMs: number): void {
    this.#ms.set(this.#stage, (this.#ms.get(this.#stage) ?? 0) + nowMs - this.#sinceMs);
    this.#stage = stage;
    this.#sinceMs = nowMs;
  }

  /** Until now, in milliseconds. */
  times(nowMs: number): StageTimes {
    this.enter(this.#stage, nowMs);
    return Object.fromEntries([...this.#ms].map(([stage, ms]) => [stage, Math.round(ms)]));
  }
}

/** Of the model, between two looks. */
export interface Growth {
  readonly beforeBytes: number;
  readonly nowBytes: number;
  readonly wantedBytes: number | undefined;
}

export const isDownloading = ({ beforeBytes, nowBytes }: Growth): boolean => nowBytes > beforeBytes;

type Launch = NonNullable<ReplicaStatus['launch']>;

/** Its last lines, as far as they are for people. */
const wordsIn = ({ lastLines }: Launch): readonly string[] =>
  lastLines.flatMap((line) => engineWords(line) ?? []).filter((words) => words.trim() !== '');

/** What its engine said last, if it said anything of its own. */
const lastWords = ({ launch }: ReplicaStatus): string => {
  const last = launch && wordsIn(launch).findLast((words) => !words.startsWith('[agent]'));
  return last === undefined ? '' : `: ${last.trim()}`;
};

/** It has its model: one that serves whatever it has may be well without. */
export const isReady = ({ state, models }: ReplicaStatus): boolean => state === 'ready' && models.length > 0;

export const stageOf = (replica: ReplicaStatus, growth: Growth): Stage => {
  if (isReady(replica)) return 'answer';
  const state = replica.launch?.state;
  if (state === undefined || state === 'starting') return 'start';
  return isDownloading(growth) ? 'download' : 'load';
};

/** For the line of its step. */
export const replicaWords = (replica: ReplicaStatus, growth: Growth): string => {
  switch (stageOf(replica, growth)) {
    case 'answer':
      return 'ready';
    case 'start':
      return 'starting';
    case 'download': {
      const wanted = growth.wantedBytes === undefined ? '' : ` of ${byteSize(growth.wantedBytes)}`;
      return `downloading, ${byteSize(growth.nowBytes)}${wanted}`;
    }
    default:
      return `loading${lastWords(replica)}`;
  }
};

/** Ends before it was ever ready: the first may be a port that another program took. Nobody watches a third one. */
const endsMax = 2;

/** Why it will not come up by itself; undefined: it may. */
export const whyGivenUp = ({ name, launch }: ReplicaStatus): string | undefined => {
  const hasEnded = launch?.state === 'backing-off' && launch.restarts + 1 >= endsMax;
  if (launch === undefined || (launch.state !== 'gave-up' && !hasEnded)) return undefined;
  const said = wordsIn(launch).slice(-4).join('\n  ');
  return `The engine ${name} could not be kept running:\n  ${said}\n${launch.logPath} has more.`;
};

/** `12.3 s: check 0.4, load 11.2, answer 0.7`, in seconds. */
export const timesInWords = (times: StageTimes): string => {
  const known = stages.flatMap((stage) => {
    const ms = times[stage] ?? 0;
    return ms === 0 ? [] : [`${stage} ${(ms / 1_000).toFixed(1)}`];
  });
  const totalMs = Object.values(times).reduce((sum, ms) => sum + ms, 0);
  return `${(totalMs / 1_000).toFixed(1)} s: ${known.join(', ')}`;
};
