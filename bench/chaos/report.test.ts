import { expect, test } from 'vitest';
import type { PhaseName, PhaseResult } from './phases.ts';
import type { RealFigures } from './real-streams.ts';
import { figuresOf, goalsOf } from './report.ts';

const real = (more: Partial<RealFigures> = {}): RealFigures => ({
  ...{ requests: 9, complete: 9, continued: 0, wrong: {}, otherwise: {} },
  ...{ samples: 0, same: 0, sharesInCommon: [], ...more },
});

/** The goals of phases that saw only streams of real engines; undefined: there were none. */
const goalsFor = (...reals: readonly (RealFigures | undefined)[]) => {
  const names: readonly PhaseName[] = ['A', 'B', 'C'];
  return goalsOf(
    reals.map((figures, at) => {
      const phase = names[at] ?? 'C';
      const result: PhaseResult = { phase, beganUs: 0, records: [], real: [], strikes: [], edgeKills: [] };
      return [result, figuresOf(result, () => ({ continuations: 0, retries: 0 }), figures)] as const;
    }),
  );
};

test.each<[string, readonly Partial<RealFigures>[], boolean | null]>([
  ['all are the same', [{ continued: 20, samples: 12, same: 12 }], true],
  ['all are the same in the phase that has any', [{}, { continued: 1, samples: 1, same: 1 }], true],
  ['one is another text', [{ continued: 2, samples: 2, same: 1, sharesInCommon: [0.5] }], false],
  [
    'one of an earlier phase is another text',
    [
      { continued: 1, samples: 1, same: 0, sharesInCommon: [0] },
      { continued: 3, samples: 3, same: 3 },
    ],
    false,
  ],
  ['none was asked for again', [{ continued: 3 }], false],
  ['nothing was continued', [{}, {}], null],
])('what real engines go on with is what they say when asked directly: %s', (_, reals, met) => {
  expect(goalsFor(...reals.map(real)).realSame?.met).toBe(met);
});

test('the goal says how many were asked for again, of all phases', () => {
  const goals = goalsFor(
    real({ continued: 5, samples: 5, same: 5 }),
    real({ continued: 20, samples: 12, same: 11 }),
    undefined,
  );
  expect(goals.realSame?.value).toBe('16 of 17, 25 continued');
});

test('without real engines nothing is asked of them', () => {
  expect(Object.keys(goalsFor(undefined)).filter((name) => name.startsWith('real'))).toEqual([]);
});
