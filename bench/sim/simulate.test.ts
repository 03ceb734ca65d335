/** Whole simulations of small traces: what must hold whatever the constants are. */
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../edge/src/policy/policy.ts';
import { prefillMs } from './constants.ts';
import { simulatedPolicies } from './policies.ts';
import { type SimulationOptions, simulate } from './simulate.ts';
import { blockTokens, sessionsTrace, strangersTrace } from './testing/sessions.ts';
import { traceOf } from './trace.ts';

const run = (shape: Partial<SimulationOptions> & Pick<SimulationOptions, 'trace' | 'policy'>) =>
  simulate({ nodes: 4, capacityBlocks: 64, load: 1, seed: 1, cells: 1, eventDelayMs: 100, ...shape });

const named = (name: string) => {
  const policy = simulatedPolicies.find((known) => known.name === name);
  if (policy === undefined) throw new Error(`no policy ${name}`);
  return policy;
};

describe.each(simulatedPolicies)('$name', (policy) => {
  test('gives the same figures for the same seed', () => {
    const trace = sessionsTrace(20, 5);
    expect(run({ trace, policy, seed: 3 })).toEqual(run({ trace, policy, seed: 3 }));
  });

  test('hits nothing where nothing is shared', () => {
    const trace = strangersTrace(100);
    expect(trace.ceiling).toBe(0);
    const { hitRatio, ceilingShare, refused } = run({ trace, policy });
    expect([hitRatio, ceilingShare, refused]).toEqual([0, Number.NaN, 0]);
  });

  test.each([0.3, 1, 5])('stays below the ceiling at load %d', (load) => {
    for (const capacityBlocks of [8, 64, 4096]) {
      const { ceilingShare } = run({ trace: sessionsTrace(20, 5), policy, load, capacityBlocks });
      expect(ceilingShare).toBeLessThanOrEqual(1);
      expect(ceilingShare).toBeGreaterThanOrEqual(0);
    }
  });
});

test('another seed breaks ties otherwise', () => {
  const trace = sessionsTrace(20, 5);
  const policy = named('random');
  expect(run({ trace, policy, seed: 1 })).not.toEqual(run({ trace, policy, seed: 2 }));
});

test('the default policy keeps a session where its prefix is, round robin does not', () => {
  const trace = sessionsTrace(12, 8);
  const ours = run({ trace, policy: named('predicted-latency'), capacityBlocks: 4096 });
  const turns = run({ trace, policy: named('round-robin'), capacityBlocks: 4096 });
  expect(ours.ceilingShare).toBeGreaterThan(0.9);
  expect(turns.ceilingShare).toBeLessThan(0.7);
  expect(ours.tokensPerJoule).toBeGreaterThan(turns.tokensPerJoule);
});

test('digests shorter than the trace’s blocks change no hit', () => {
  const trace = sessionsTrace(12, 8);
  const whole = run({ trace, policy: named('predicted-latency') });
  expect(run({ trace, policy: named('predicted-latency'), digestTokens: 64 })).toEqual(whole);
});

test('one node and one repeated prompt come out as by hand', () => {
  const request = { inputTokens: 2 * blockTokens, outputTokens: 1, blocks: [0, 1] };
  const trace = traceOf('two', [
    { ...request, atMs: 0 },
    { ...request, atMs: 1000 },
  ]);
  const figures = run({ trace, policy: named('predicted-latency'), nodes: 1, load: 0.1 });
  const coldMs = prefillMs(1024, 1024, 0);
  const warmMs = prefillMs(1, 1024, 0);
  expect(figures.ttftMeanMs).toBeCloseTo((coldMs + warmMs) / 2, 6);
  expect(figures.hitRatio).toBeCloseTo(1023 / 2048, 9);
  expect(trace.ceiling).toBe(0.5);
});

test('load 1 is the rate at which prefill without a hit keeps every node busy', () => {
  const trace = strangersTrace(200);
  const { joules } = run({ trace, policy: named('least-loaded'), nodes: 1, load: 1000 });
  // All at once: one long row of prefills at 650 W, then the last tokens at less.
  expect(joules).toBeGreaterThan((0.65 * trace.prefillWorkMs) / 1);
  expect(joules).toBeLessThan(1.3 * 0.65 * trace.prefillWorkMs);
});

test('what a full directory refuses is counted, and not waited for', () => {
  const trace = strangersTrace(2_100);
  const { refused, ttftMeanMs } = run({ trace, policy: named('random'), nodes: 1, load: 1e6 });
  expect(refused).toBeGreaterThan(0);
  expect(refused).toBeLessThan(2_100);
  expect(ttftMeanMs).toBeGreaterThan(0);
});

test('several cells divide the nodes, and their imbalance is told', () => {
  const trace = sessionsTrace(40, 5);
  const policy = named('predicted-latency');
  expect(run({ trace, policy, nodes: 8, cells: 1 }).cellImbalance).toBe(1);
  const { cellImbalance } = run({ trace, policy, nodes: 8, cells: 2 });
  expect(cellImbalance).toBeGreaterThanOrEqual(1);
  expect(cellImbalance).toBeLessThan(2);
});

test('every second a policy hears anew what each node draws', () => {
  const told: (number | undefined)[] = [];
  const watching: Policy = {
    name: 'watching',
    create: () => (scene, costs) => {
      told.push(scene.candidates[0]?.watts);
      costs.fill(0);
    },
  };
  const requestOf = (atMs: number, inputTokens: number, outputTokens: number) => ({
    ...{ atMs, inputTokens, outputTokens, blocks: [] },
  });
  // The first is in prefill until 1,194 ms and decodes alone from then on, for 20 s.
  const trace = traceOf('four', [
    requestOf(0, 10_240, 1_000),
    requestOf(1_100, 1, 1),
    requestOf(2_500, 1, 1),
    requestOf(60_500, 1, 1),
  ]);
  run({ trace, policy: watching, nodes: 1, load: trace.prefillWorkMs / trace.spanMs });
  expect(told).toEqual([110, 650, 120, 110]);
});

test('what a cache holds is heard after the delay, and not before', () => {
  const trace = sessionsTrace(12, 8);
  const hitsAfter = (eventDelayMs: number) =>
    run({ trace, policy: named('scorer'), load: 0.3, capacityBlocks: 4096, eventDelayMs }).hitRatio;
  expect(hitsAfter(3_600_000)).toBeLessThan(0.7 * hitsAfter(0));
});

test('cells of one node each leave a rule that looks at no cache nothing but the least loaded', () => {
  const trace = strangersTrace(200);
  const unevenness = (cells: number) => run({ trace, policy: named('random'), cells }).balanceCv;
  expect(unevenness(4)).toBeLessThan(unevenness(1) / 2);
});

test.each(['cache-aware', 'kv-cost', 'scorer'])('%s asks the cell that a prompt belongs to', (name) => {
  const trace = sessionsTrace(40, 8);
  const hitsIn = (cells: number) =>
    run({ trace, policy: named(name), nodes: 8, cells, capacityBlocks: 4096, load: 0.3 }).hitRatio;
  // Asking the least loaded cell alone gives .5 to .58 of it.
  expect(hitsIn(4)).toBeGreaterThan(0.75 * hitsIn(1));
});
