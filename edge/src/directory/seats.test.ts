/** Seats in the one filter of decisions, and first tokens that would come too late. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { LoadReport } from '@cognitora/protocol/telemetry';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { type DecideOptions, unreadPrompt } from './decision.ts';
import { Directory } from './directory.ts';

const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
const epoch = 1 as Epoch;

const fleet = (...names: string[]) => {
  const settled: number[] = [];
  const directory = new Directory({
    ...{ secret: 1, askSnapshot: () => 0 },
    settled: (reservation) => settled.push(reservation),
  });
  for (const name of names) {
    directory.join(name as NodeId, epoch, name, [{ name: 'r' as ReplicaName, state: 'ready', models }], 0);
  }
  const terms = { nowMs: 0, isLeased: () => true };
  const decide = (more: Partial<DecideOptions> = {}) => {
    const request = {
      model: 'm',
      prompt: { ...unreadPrompt, bytes: 4_000 },
      isStream: true,
      random: () => 0,
    };
    return directory.decide({ ...terms, ...request, ...more });
  };
  const tell = (name: string, load: Partial<LoadReport>): void =>
    directory.measured(
      name as NodeId,
      epoch,
      { rttMs: 1, replicas: [{ name: 'r' as ReplicaName, ...load }] },
      0,
    );
  return { directory, decide, tell, terms, settled };
};

test('a replica with as many requests as seats gets no more, and frees one when a request ends', () => {
  const { directory, decide, terms } = fleet('a', 'b');
  const seats = { seatsPerReplica: 1 };
  const [first, second] = [decide(seats), decide(seats)];
  expect(new Set([first.node, second.node])).toEqual(new Set(['a', 'b']));
  expect(directory.room('m', { ...terms, ...seats })).toBe('full');
  expect(directory.isReady({ ...terms, ...seats })).toBe(true);
  expect(errorOf(() => decide(seats))).toMatchObject({ code: 'no_capacity', route: 'replicas=2; busy=2' });
  directory.settle(second.reservation, { nowMs: 0 });
  expect(directory.room('m', { ...terms, ...seats })).toBe('room');
  expect(decide(seats).node).toBe(second.node);
});

test('seats are learned of an engine that tells, and outlive its link', () => {
  const { directory, decide, tell, terms } = fleet('a');
  for (let request = 0; request < 7; request += 1) decide();
  expect(directory.room('m', terms)).toBe('room');
  for (const _ of [1, 2]) tell('a', { running: 4, waiting: 3 });
  expect(directory.room('m', terms)).toBe('full');
  directory.leave('a' as NodeId, epoch, 0);
  expect(directory.room('m', terms)).toBe('away');
  directory.join('a' as NodeId, 2 as Epoch, 'a', [{ name: 'r' as ReplicaName, state: 'ready', models }], 0);
  for (let request = 0; request < 6; request += 1) decide();
  expect(directory.room('m', terms)).toBe('full');
});

test('of an engine that tells nothing an answer proves that all booked before it have begun', () => {
  const { directory, decide, terms } = fleet('a');
  const settle = ({ reservation }: ReturnType<typeof decide>, promptTokens?: number): void =>
    directory.settle(reservation, { nowMs: 0, ...(promptTokens === undefined ? {} : { promptTokens }) });
  const [first, ...more] = Array.from({ length: 8 }, () => decide());
  expect(directory.room('m', terms)).toBe('full');
  // One that failed proves nothing, nor does the first to come that is the first to go.
  if (first !== undefined) settle(first, 100);
  decide();
  const [second, third] = more.slice(-2);
  if (second !== undefined) settle(second);
  decide();
  expect(directory.room('m', terms)).toBe('full');
  // Five were booked before it and go on.
  if (third !== undefined) settle(third, 100);
  for (let request = 0; request < 5; request += 1) decide();
  expect(directory.room('m', terms)).toBe('full');
});

test('so does an answer that nobody counted, if its engine worked', () => {
  const { directory, decide, terms } = fleet('a');
  const [, , , , , , , last] = Array.from({ length: 8 }, () => decide());
  if (last !== undefined) directory.settle(last.reservation, { nowMs: 0, verdict: 'worked' });
  for (let request = 0; request < 9; request += 1) decide();
  expect(directory.room('m', terms)).toBe('full');
});

test('each reservation’s end is told once, that of a node that leaves too', () => {
  const { directory, decide, settled } = fleet('a');
  const [first, second] = [decide(), decide()];
  directory.settle(first.reservation, { nowMs: 0 });
  directory.settle(first.reservation, { nowMs: 0 });
  directory.leave('a' as NodeId, epoch, 0);
  expect(settled).toEqual([first.reservation, second.reservation]);
});

/** Prefills, one after the other, of 1,000 tokens in 200 ms each. */
const prefill = ({ directory, decide, terms }: ReturnType<typeof fleet>, requests: number): void => {
  for (let request = 0; request < requests; request += 1) {
    const { reservation } = decide();
    terms.nowMs += 200;
    directory.firstByte(reservation, terms.nowMs);
    directory.settle(reservation, { nowMs: terms.nowMs });
  }
};

test('who would have its first token too late is refused, unless it would wait for nobody', () => {
  const one = fleet('a');
  prefill(one, 8);
  const { decide } = one;
  expect(decide({ firstTokenMsMax: 1 }).node).toBe('a');
  const refused = errorOf(() => decide({ firstTokenMsMax: 100 }));
  expect([refused?.code, refused?.retryAfterSeconds]).toEqual(['overloaded', 1]);
  expect(decide({ firstTokenMsMax: 100_000 }).node).toBe('a');
});

test('nobody is refused for what is only guessed: too few prefills were seen, or none of that length', () => {
  const one = fleet('a');
  const { decide } = one;
  const ofBytes = (bytes: number) => decide({ firstTokenMsMax: 1, prompt: { ...unreadPrompt, bytes } });
  prefill(one, 7);
  expect([ofBytes(4_000).node, ofBytes(4_000).node]).toEqual(['a', 'a']);
  prefill(one, 1);
  expect(errorOf(() => ofBytes(4_000))?.code).toBe('overloaded');
  expect(ofBytes(5_000).node).toBe('a');
  // What waits before it counts, guessed or not: else one long prompt would end all shedding.
  expect(errorOf(() => ofBytes(4_000))?.code).toBe('overloaded');
});
