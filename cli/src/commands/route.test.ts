import { expect, test } from 'vitest';
import { changeReport, policyRows, resetReport } from './route.ts';

const served = { model: 'tiny', servedIn: ['weur'] };

test('a change says how the model is decided now, and that nobody serves it if so', () => {
  const change = { policy: 'round-robin', shadow: 'predicted-latency' };
  expect(changeReport({ ...served, ...change })).toBe('tiny: round-robin, shadow predicted-latency.');
  expect(changeReport({ ...served, policy: 'random', shadow: null })).toBe('tiny: random.');
  expect(changeReport({ model: 'typo', servedIn: [], policy: 'random', shadow: null })).toBe(
    'typo: random. Nobody serves it now: is the name right?',
  );
});

test('a reset names the default', () => {
  const back = { policy: 'predicted-latency', shadow: null };
  expect(resetReport({ ...served, ...back })).toBe('tiny: predicted-latency, the default again.');
  expect(resetReport({ ...served, ...back, servedIn: [] })).toMatch(/again\. Nobody serves it now/);
});

test('a model whose policy is set is listed while nobody serves it', () => {
  const models = [{ model: 'm', policy: 'random', cells: [] }];
  expect(policyRows({ policies: [], regions: [{ region: 'weur', models }] })).toEqual([
    ['weur', 'm', 'random', '-', 0, 0, '-'],
  ]);
});
