import { expect, test } from 'vitest';
import { seededRandom } from '../sim/random.ts';
import { type Fault, linkCuts, replicaKills } from './faults.ts';

const room = (seed: number) => ({ hosts: 3, msMax: 200_000, random: seededRandom(seed) });
const kinds = ['link cut', 'link silent', 'agent paused', 'agent killed'] as const;
const cuts = (seed: number): readonly Fault[] => linkCuts(room(seed), kinds, 5_000);

const beginnings = (faults: readonly Fault[]): readonly number[] => {
  let atMs = 0;
  return faults.map(({ afterMs, lastsMs }) => {
    const begunMs = atMs + afterMs;
    atMs = begunMs + lastsMs;
    return begunMs;
  });
};

test('a seed names its faults, and another one others', () => {
  expect(cuts(1)).toEqual(cuts(1));
  expect(cuts(1)).not.toEqual(cuts(2));
});

test('a replica is killed at every beat, whatever the last one took to come back', () => {
  const kills = replicaKills(room(1), 10_000);
  expect(beginnings(kills)).toEqual(Array.from({ length: 19 }, (_, at) => (at + 1) * 10_000));
  expect(new Set(kills.map(({ host }) => host)).size).toBe(3);
});

test('each kind has its turn in each round, some last longer than a lease, and none begins too late', () => {
  const faults = cuts(3);
  expect(new Set(faults.slice(0, kinds.length).map(({ kind }) => kind))).toEqual(new Set(kinds));
  expect(faults.some(({ lastsMs }) => lastsMs > 10_000)).toBe(true);
  expect(Math.max(...beginnings(faults))).toBeLessThan(200_000);
  for (const { kind, lastsMs } of faults) expect(lastsMs === 0).toBe(kind === 'link cut');
});
