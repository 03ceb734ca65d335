/** A replica whose requests fail is left alone, tried by one at a time, and is back with one success. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { leastLoadedDirectory } from '../../testing/directories.ts';
import { type Decision, unreadPrompt } from './decision.ts';
import type { Directory } from './directory.ts';
import { Failures, failingMsMax, failingMsMin, failuresInRowMax, type Verdict } from './failures.ts';
import type { Reservation } from './load.ts';

const reportOf = (name: string) => ({
  ...{ name: name as ReplicaName, state: 'ready' as const },
  models: [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }],
});

const directoryOf = (...names: string[]): Directory => {
  const directory = leastLoadedDirectory();
  directory.join('n' as NodeId, 1 as Epoch, 'host', names.map(reportOf), 0);
  return directory;
};

const decide = (directory: Directory, nowMs = 0): Decision =>
  directory.decide({
    ...{ model: 'm', prompt: unreadPrompt, isStream: true, nowMs, isLeased: () => true },
    random: () => 0,
  });

/** Requests one after the other, of which these replicas fail all, at once; where each went. */
const askInTurn = (directory: Directory, count: number, failing: readonly string[], nowMs = 0): string[] =>
  Array.from({ length: count }, () => {
    const { reservation, replica } = decide(directory, nowMs);
    directory.settle(reservation, { nowMs, verdict: failing.includes(replica) ? 'failed' : 'worked' });
    return replica;
  });

const shareOf = (asked: readonly string[], name: string): number =>
  asked.filter((replica) => replica === name).length;

const failed = (times: number, nowMs = 0): Failures => {
  const failures = new Failures();
  for (let count = 0; count < times; count += 1) failures.ended('failed', nowMs);
  return failures;
};

test('of a hundred requests three reach a replica that fails all at once', () => {
  const asked = askInTurn(directoryOf('bad', 'good'), 100, ['bad']);
  expect(shareOf(asked, 'bad')).toBe(failuresInRowMax);
});

test('when its time is up one request tries it, and no second while that runs', () => {
  const directory = directoryOf('bad', 'good');
  askInTurn(directory, 10, ['bad']);
  expect(decide(directory, failingMsMin - 1)).toMatchObject({ replica: 'good', failing: 1 });
  const trial = decide(directory, failingMsMin);
  expect(trial).toMatchObject({ replica: 'bad', isTrial: true, failing: 0 });
  const meanwhile = Array.from({ length: 5 }, () => decide(directory, failingMsMin).replica);
  expect(meanwhile).toEqual(Array(5).fill('good'));
  directory.settle(trial.reservation, { nowMs: failingMsMin, verdict: 'worked' });
  expect(decide(directory, failingMsMin)).toMatchObject({ replica: 'bad', isTrial: false });
});

test('a trial that is answered makes room for the next', () => {
  const directory = directoryOf('bad', 'good');
  askInTurn(directory, 10, ['bad']);
  const trial = decide(directory, failingMsMin);
  for (let count = 0; count < 4; count += 1) decide(directory, failingMsMin);
  directory.firstByte(trial.reservation, failingMsMin);
  expect(decide(directory, failingMsMin).replica).toBe('bad');
});

test('where all fail the one whose time ends soonest is tried, and nobody is refused', () => {
  const directory = directoryOf('r0', 'r1');
  askInTurn(directory, 3, ['r0'], 2);
  askInTurn(directory, 3, ['r1'], 5);
  expect(askInTurn(directory, 20, ['r0', 'r1'], 10)).toEqual(Array(20).fill('r0'));
  // A failed trial: its time is the longer one now.
  askInTurn(directory, 1, ['r0'], failingMsMin + 2);
  expect(askInTurn(directory, 20, ['r0', 'r1'], failingMsMin + 3)).toEqual(Array(20).fill('r1'));
  expect(decide(directory, failingMsMin + 3)).toMatchObject({ candidates: 1, failing: 2, isTrial: true });
  expect(directory.isReady({ nowMs: 10, isLeased: () => true })).toBe(true);
});

test('who lacks a lease is not tried as a last resort', () => {
  const directory = directoryOf('r0');
  askInTurn(directory, 3, ['r0']);
  const asked = () =>
    directory.decide({
      ...{ model: 'm', prompt: unreadPrompt, isStream: true, nowMs: 0, isLeased: () => false },
      random: () => 0,
    });
  expect(asked).toThrow(/No replica can serve/);
});

test.each<[string, readonly (Verdict | undefined)[], boolean]>([
  ['two in a row', ['failed', 'failed'], false],
  ['three in a row', ['failed', 'failed', 'failed'], true],
  ['a success between', ['failed', 'failed', 'worked', 'failed'], false],
  ['an end that says nothing between', ['failed', undefined, 'failed', undefined, 'failed'], true],
  ['ends that say nothing', [undefined, undefined, undefined, undefined], false],
  ['a success after', ['failed', 'failed', 'failed', 'worked'], false],
])('%s', (_, verdicts, isFailing) => {
  const failures = new Failures();
  for (const verdict of verdicts) failures.ended(verdict, 0);
  expect(failures.isFailing).toBe(isFailing);
});

test('the time doubles with each failed trial, up to its bound, and begins anew after a success', () => {
  const failures = failed(failuresInRowMax);
  const waits: number[] = [];
  for (let nowMs = 0; waits.length < 7; failures.ended('failed', nowMs)) {
    waits.push(failures.untilMs - nowMs);
    nowMs = failures.untilMs;
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 30, 30].map((seconds) => seconds * 1_000));
  expect(waits.at(-1)).toBe(failingMsMax);
  failures.ended('worked', 200_000);
  for (let count = 0; count < failuresInRowMax; count += 1) failures.ended('failed', 200_000);
  expect(failures.untilMs).toBe(200_000 + failingMsMin);
});

test('a burst that fails while it waits makes the time no longer', () => {
  expect(failed(40).untilMs).toBe(failingMsMin);
});

test('a trial that ended without a word is no trial any more', () => {
  const failures = failed(failuresInRowMax);
  failures.booked(1 as Reservation);
  expect(failures.keepsBack(failingMsMin)).toBe(true);
  failures.tried(2 as Reservation);
  expect(failures.keepsBack(failingMsMin)).toBe(true);
  failures.tried(1 as Reservation);
  expect(failures.keepsBack(failingMsMin)).toBe(false);
});

test('a clock that is set back makes nobody wait longer', () => {
  expect(failed(failuresInRowMax, 1_000_000).keepsBack(0)).toBe(false);
});
