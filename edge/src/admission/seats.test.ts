import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { Seats, SeatsMemory } from './seats.ts';

const name = 'r0' as ReplicaName;
const told = (seats: Seats, running: number, waiting: number, others: object = {}): void =>
  seats.told({ name, running, waiting, ...others });

test('an engine whose agent does not tell has twice what was seen to run', () => {
  const seats = new Seats();
  expect(seats.count).toBe(8);
  seats.told({ name, kvPermille: 3 });
  seats.saw(7);
  expect(seats.count).toBe(14);
  seats.saw(4);
  expect(seats.count).toBe(14);
});

test('an engine that is not known yet begins with few, and doubles as long as nothing waits', () => {
  const seats = new Seats();
  told(seats, 0, 0);
  expect(seats.count).toBe(8);
  told(seats, 8, 0);
  expect(seats.count).toBe(16);
  seats.saw(16);
  expect(seats.count).toBe(32);
});

test('one that tells of waiting requests twice in a row is full at what it ran, and has two ahead', () => {
  const seats = new Seats();
  told(seats, 4, 4);
  expect(seats.count).toBe(8);
  told(seats, 4, 4);
  expect(seats.count).toBe(6);
  told(seats, 3, 2);
  expect(seats.count).toBe(6);
});

test('a full one grows again by what is ahead as long as nothing waits, and falls when it runs less', () => {
  const seats = new Seats();
  for (const _ of [1, 2]) told(seats, 16, 3);
  expect(seats.count).toBe(18);
  told(seats, 18, 0);
  expect(seats.count).toBe(21);
  for (const _ of [1, 2]) told(seats, 8, 9);
  expect(seats.count).toBe(10);
});

test('first bytes prove nothing of an engine in which something waits', () => {
  const seats = new Seats();
  for (const _ of [1, 2]) told(seats, 4, 2);
  seats.saw(6);
  expect(seats.count).toBe(6);
  told(seats, 4, 0);
  seats.saw(6);
  expect(seats.count).toBe(8);
});

test('what others have in the engine is taken from its seats, but for one', () => {
  const seats = new Seats();
  for (const _ of [1, 2]) told(seats, 4, 2, { othersRunning: 3, othersWaiting: 1 });
  expect(seats.count).toBe(2);
  told(seats, 4, 9, { othersRunning: 4, othersWaiting: 9 });
  expect(seats.count).toBe(1);
});

test('an engine that begins anew is not known', () => {
  const seats = new Seats();
  for (const _ of [1, 2]) told(seats, 100, 30);
  seats.beginAnew();
  expect(seats.count).toBe(8);
});

test('what was learned of a replica outlives its link', () => {
  const memory = new SeatsMemory();
  const seats = memory.of('n' as NodeId, name);
  for (const _ of [1, 2]) told(seats, 4, 2);
  expect(memory.of('n' as NodeId, name).count).toBe(6);
  expect(memory.of('m' as NodeId, name).count).toBe(8);
});
