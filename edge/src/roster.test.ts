import type { Region as RegionName } from '@cognitora/protocol/ids';
import { rosterCacheMsMax, rosterMissMsMax } from '@cognitora/protocol/limits';
import { type PromptProfile, plainProfile } from '@cognitora/protocol/prefix/profile';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Env } from './env.ts';
import { profileOf } from './roster.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const region = 'weur' as RegionName;

/** A deployment whose one region answers with what the test says, and counts how often it was asked. */
const deployment = () => {
  const roster = new Map<string, PromptProfile>();
  const state = { asked: 0, isDown: false };
  const object = {
    roster: () => {
      state.asked += 1;
      return state.isDown ? Promise.reject(new Error('down')) : Promise.resolve(new Map(roster));
    },
  };
  const env = { REGION: { idFromName: (name: string) => name, get: () => object } } as unknown as Env;
  const ask = (model: string) => profileOf(env, region, model);
  return { roster, state, ask, pass: (ms: number) => vi.setSystemTime(Date.now() + ms) };
};

test('a region is asked once for as long as its answer counts', async () => {
  const { roster, state, ask, pass } = deployment();
  roster.set('m', plainProfile);
  expect([await ask('m'), await ask('m')]).toEqual([plainProfile, plainProfile]);
  expect(state.asked).toBe(1);
  pass(rosterCacheMsMax);
  await ask('m');
  expect(state.asked).toBe(2);
});

test('a model that was not there is asked for again soon, however many ask', async () => {
  const { roster, state, ask, pass } = deployment();
  expect(await Promise.all([ask('m'), ask('m'), ask('m')])).toEqual([undefined, undefined, undefined]);
  roster.set('m', plainProfile);
  expect([await ask('m'), state.asked]).toEqual([undefined, 1]);
  pass(rosterMissMsMax);
  expect([await ask('m'), state.asked]).toEqual([plainProfile, 2]);
});

test('a region that does not answer has no profiles, and is asked again soon', async () => {
  const { roster, state, ask, pass } = deployment();
  state.isDown = true;
  roster.set('m', plainProfile);
  expect(await ask('m')).toBeUndefined();
  state.isDown = false;
  pass(rosterMissMsMax);
  expect(await ask('m')).toEqual(plainProfile);
});
