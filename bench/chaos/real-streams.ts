/**
 * What became of the streams of real engines, which say what nobody knows beforehand: each is held against what the
 * engines were asked and said, and some that were continued are asked once more of the engine that took them.
 */
import type { StreamRecord } from './client-messages.ts';
import type { Fleet } from './fleet.ts';
import { checkReal, textOf } from './real-check.ts';
import type { RealReplica } from './real-replica.ts';
import type { Recorded } from './recorder-messages.ts';

/** Asked again, one at a time. */
const samplesMax = 12;

export interface RealFigures {
  readonly requests: number;
  readonly complete: number;
  readonly continued: number;
  /** By what is wrong with them. */
  readonly wrong: Readonly<Record<string, number>>;
  /** By outcome, of those that are not complete. */
  readonly otherwise: Readonly<Record<string, number>>;
  /** Continuations that were asked for directly, and those of them that got the same text. */
  readonly samples: number;
  readonly same: number;
  /** Of the others, the share of the text up to the first difference. */
  readonly sharesInCommon: readonly number[];
}

interface Had extends Recorded {
  readonly replica: RealReplica;
}

const sharedShare = (left: string, right: string): number => {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at += 1;
  return Math.round((1000 * at) / Math.max(1, left.length)) / 1000;
};

export const examineReal = async (
  { hosts }: Fleet,
  records: readonly StreamRecord[],
): Promise<RealFigures> => {
  const byRequest = new Map<string, Had[]>();
  for (const { real: replica } of hosts) {
    for (const one of (await replica?.recorded()) ?? []) {
      if (replica === undefined) continue;
      byRequest.set(one.requestId, [...(byRequest.get(one.requestId) ?? []), { ...one, replica }]);
    }
  }
  const wrong: Record<string, number> = {};
  const otherwise: Record<string, number> = {};
  const taken: Had[] = [];
  for (const { requestId, outcome, code = '', text = '' } of records) {
    // Longer prompts came later: each holds what was said before.
    const asked = (byRequest.get(requestId) ?? []).sort((one, other) => one.body.length - other.body.length);
    const verdict = checkReal(text, asked);
    const last = asked.at(-1);
    if (outcome !== 'right') otherwise[`${outcome} ${code}`] = (otherwise[`${outcome} ${code}`] ?? 0) + 1;
    else if (!verdict.isRight) wrong[verdict.why] = (wrong[verdict.why] ?? 0) + 1;
    else if (verdict.continuations > 0 && last !== undefined) taken.push(last);
  }
  const sharesInCommon: number[] = [];
  const samples = taken.slice(0, samplesMax);
  for (const { replica, path, body, answer } of samples) {
    const again = textOf(await replica.askDirectly({ path, body }));
    if (again !== textOf(answer)) sharesInCommon.push(sharedShare(textOf(answer), again));
  }
  return {
    ...{ requests: records.length, continued: taken.length, wrong, otherwise, sharesInCommon },
    complete: records.filter(({ outcome }) => outcome === 'right').length,
    ...{ samples: samples.length, same: samples.length - sharesInCommon.length },
  };
};
