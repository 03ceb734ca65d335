import { describe, expect, test } from 'vitest';
import {
  SnapshotTurns,
  snapshotLossMemoryMs,
  snapshotRestMsMax,
  snapshotRestMsMin,
  snapshotSilenceMsMax,
  snapshotTurnsMax,
  snapshotTurnsPerNodeMax,
  snapshotWaitingMax,
  type TurnTaker,
} from './snapshot-turns.ts';

class Taker implements TurnTaker {
  readonly node: string | undefined;
  begun = 0;
  lost = 0;
  constructor(node?: string) {
    this.node = node;
  }
  begin(): void {
    this.begun += 1;
  }
  lose(): void {
    this.lost += 1;
  }
}

const takersOf = (count: number): Taker[] => Array.from({ length: count }, () => new Taker());
const begunIn = (takers: readonly Taker[]): number => takers.filter(({ begun }) => begun > 0).length;

describe('turns', () => {
  test('are given to a few at once, and to the others in order as those are done', () => {
    const turns = new SnapshotTurns();
    const takers = takersOf(20);
    for (const taker of takers) expect(turns.want(taker, 0)).toBe(true);
    expect([turns.loading, turns.waiting]).toEqual([snapshotTurnsMax, 12]);
    for (const [index, taker] of takers.entries()) {
      turns.leave(taker, 1);
      expect(begunIn(takers)).toBe(Math.min(20, snapshotTurnsMax + index + 1));
    }
    expect([turns.loading, turns.waiting]).toEqual([0, 0]);
    expect(takers.every(({ begun }) => begun === 1)).toBe(true);
  });

  test('go to one node only so far that its silence leaves the others theirs', () => {
    const turns = new SnapshotTurns();
    const silent = Array.from({ length: 100 }, () => new Taker('silent'));
    const others = Array.from({ length: 6 }, (_, index) => new Taker(`n${index}`));
    for (const taker of [...silent, ...others]) turns.want(taker, 0);
    expect([begunIn(silent), begunIn(others)]).toEqual([snapshotTurnsPerNodeMax, 6]);
    for (const taker of silent.slice(0, 2)) turns.leave(taker, 1);
    expect(begunIn(silent)).toBe(2 * snapshotTurnsPerNodeMax);
    turns.sweep(snapshotSilenceMsMax + 1);
    expect([turns.loading, silent[2]?.lost]).toEqual([0, 1]);
    turns.sweep(snapshotSilenceMsMax + 1 + snapshotRestMsMin);
    expect(turns.loading).toBe(snapshotTurnsMax);
  });

  test('end for who has to rest, and come with the sweep after it', () => {
    const turns = new SnapshotTurns();
    const [taker] = takersOf(1) as [Taker];
    turns.rest(taker, 0);
    expect([taker.begun, turns.waiting]).toEqual([0, 1]);
    turns.sweep(0);
    expect([taker.begun, turns.loading]).toEqual([1, 1]);
    turns.rest(taker, 1);
    expect([turns.loading, turns.waiting]).toEqual([0, 1]);
  });

  test('are not multiplied by wanting again', () => {
    const turns = new SnapshotTurns();
    const [first, second] = takersOf(2) as [Taker, Taker];
    for (const taker of [first, first, second, first]) turns.want(taker, 0);
    expect([turns.loading, turns.waiting, first.begun, second.begun]).toEqual([2, 0, 1, 1]);
  });

  test('end when nothing comes for too long, and go to who waits', () => {
    const turns = new SnapshotTurns();
    const takers = takersOf(snapshotTurnsMax + 1);
    for (const taker of takers) turns.want(taker, 0);
    const [silent, ...others] = takers as [Taker, ...Taker[]];
    for (const taker of others) turns.progress(taker, snapshotSilenceMsMax - 1);
    turns.sweep(snapshotSilenceMsMax - 1);
    expect(silent.lost).toBe(0);
    turns.sweep(snapshotSilenceMsMax);
    expect([silent.lost, begunIn(others)]).toEqual([1, snapshotTurnsMax]);
    turns.leave(others[0] as Taker, snapshotSilenceMsMax);
    expect(silent.begun).toBe(1);
    turns.sweep(snapshotSilenceMsMax + snapshotRestMsMin);
    expect(silent.begun).toBe(2);
  });

  test('go by node: four with 64 silent feeds each are not again before everybody else', () => {
    const turns = new SnapshotTurns();
    const silent = Array.from({ length: 4 * 64 }, (_, index) => new Taker(`silent${index % 4}`));
    const honest = Array.from({ length: 40 }, (_, index) => new Taker(`n${index % 20}`));
    for (const taker of [...silent, ...honest]) turns.want(taker, 0);
    expect([begunIn(silent), begunIn(honest)]).toEqual([snapshotTurnsMax, 0]);
    // Their turns are lost; of the others each is done at once.
    turns.sweep(snapshotSilenceMsMax);
    for (const taker of honest) if (taker.begun > 0) turns.leave(taker, snapshotSilenceMsMax);
    expect([begunIn(silent), begunIn(honest)]).toEqual([snapshotTurnsMax, 40]);
  });

  test('go to the node with the fewest, then to the one that is without for longest', () => {
    const turns = new SnapshotTurns();
    const many = Array.from({ length: 4 }, (_, index) => new Taker(`n${index}`));
    const [crowd, again] = [takersOf(4), [new Taker('n0'), new Taker('n1')] as const];
    for (const taker of [...many, ...crowd, ...again]) turns.want(taker, 0);
    const late = new Taker('late');
    turns.want(late, 0);
    turns.leave(crowd[0] as Taker, 1);
    expect([again[0].begun, late.begun]).toEqual([0, 1]);
    turns.leave(many[1] as Taker, 2);
    expect([again[0].begun, again[1].begun]).toEqual([0, 1]);
  });

  test('are further apart with each that a node loses, up to a bound, until it lost none for a while', () => {
    const turns = new SnapshotTurns();
    const feeds = Array.from({ length: 3 }, () => new Taker('silent'));
    for (const taker of feeds) turns.want(taker, 0);
    const begun = (): number => feeds.reduce((sum, taker) => sum + taker.begun, 0);
    let nowMs = 0;
    const restMs = (): number => {
      nowMs += snapshotSilenceMsMax;
      turns.sweep(nowMs);
      const [before, lostMs] = [begun(), nowMs];
      while (begun() === before) {
        nowMs += snapshotRestMsMin;
        turns.sweep(nowMs);
      }
      return nowMs - lostMs;
    };
    const rests = Array.from({ length: 9 }, restMs);
    expect(rests.slice(0, 3)).toEqual([1, 2, 4].map((times) => times * snapshotRestMsMin));
    expect(rests.slice(-2)).toEqual([snapshotRestMsMax, snapshotRestMsMax]);
    // Neither does it help to go and come back.
    for (const taker of feeds) turns.leave(taker, nowMs);
    for (const taker of feeds) turns.want(taker, nowMs);
    expect(restMs()).toBe(snapshotRestMsMax);
    for (const taker of feeds) turns.leave(taker, nowMs);
    nowMs += snapshotLossMemoryMs;
    turns.sweep(nowMs);
    for (const taker of feeds) turns.want(taker, nowMs);
    expect(restMs()).toBe(snapshotRestMsMin);
  });

  test('that fail come back with the next sweep, after those who waited before', () => {
    const turns = new SnapshotTurns();
    const [failing] = takersOf(1) as [Taker];
    turns.want(failing, 0);
    turns.fail(failing, 1);
    turns.want(failing, 2);
    expect([turns.loading, turns.waiting, failing.begun]).toEqual([0, 1, 1]);
    turns.sweep(3);
    expect([turns.loading, turns.waiting, failing.begun]).toEqual([1, 0, 2]);
  });

  test('are waited for by a bounded number', () => {
    const turns = new SnapshotTurns();
    const takers = takersOf(snapshotTurnsMax + snapshotWaitingMax);
    for (const taker of takers) expect(turns.want(taker, 0)).toBe(true);
    const [late] = takersOf(1) as [Taker];
    expect(turns.want(late, 0)).toBe(false);
    turns.leave(takers[0] as Taker, 0);
    expect(turns.want(late, 0)).toBe(true);
  });

  test('are waited for by each node, though a few fill the room: the most crowded give way', () => {
    const turns = new SnapshotTurns();
    const crowd = Array.from({ length: snapshotTurnsMax + snapshotWaitingMax }, (_, index) => {
      return new Taker(`crowd${index % 16}`);
    });
    for (const taker of crowd) turns.want(taker, 0);
    expect(turns.waiting).toBe(snapshotWaitingMax);
    const honest = Array.from({ length: 3 }, () => new Taker('honest'));
    for (const taker of honest) expect(turns.want(taker, 0)).toBe(true);
    expect(turns.waiting).toBe(snapshotWaitingMax);
    // Who has a share already makes nobody give way.
    expect(turns.want(new Taker('crowd0'), 0)).toBe(false);
    // The others lose eight turns at a time; theirs are done at once.
    let sweeps = 0;
    for (; begunIn(honest) < 3 && sweeps < 100; sweeps += 1) {
      turns.sweep(sweeps * snapshotSilenceMsMax);
      for (const taker of honest) if (taker.begun > 0) turns.leave(taker, sweeps * snapshotSilenceMsMax);
    }
    expect(sweeps).toBeLessThan(10);
  });

  test('are not lost to who rests while the room is full', () => {
    const turns = new SnapshotTurns();
    const crowd = Array.from({ length: snapshotTurnsMax + snapshotWaitingMax }, () => new Taker('crowd'));
    for (const taker of crowd) turns.want(taker, 0);
    const [hasty, other] = [new Taker('hasty'), new Taker('crowd')];
    turns.rest(hasty, 0);
    turns.rest(other, 0);
    expect(turns.waiting).toBeLessThanOrEqual(snapshotWaitingMax);
    turns.sweep(0);
    expect([hasty.begun, other.begun]).toEqual([1, 0]);
  });
});
