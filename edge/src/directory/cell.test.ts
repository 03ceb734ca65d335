/** Where a cell sends requests: bursts, sessions, new and late replicas, ties; and what it learns from how they end. */
import { describe, expect, test } from 'vitest';
import { blockTokens, cellOf, countsOf } from '../../testing/cells.ts';
import { randomWords } from '../../testing/digests.ts';
import { leastLoaded } from '../policy/least-loaded.ts';
import { policies } from '../policy/policy.ts';
import { predictedLatency } from '../policy/predicted-latency.ts';
import { random } from '../policy/random.ts';
import { roundRobin } from '../policy/round-robin.ts';
import { replicasPerCellMax } from './replica-slots.ts';

/** A shared start of 3,008 tokens, and 96 tokens of each request's own, which fill one block more. */
const sharedBlocks = 47;
const shared = randomWords(1, 2 * sharedBlocks);
const siblingOf = (index: number) => ({
  chain: Uint32Array.of(...shared, ...randomWords(1000 + index, 2)),
  promptTokens: sharedBlocks * blockTokens + 96,
});
const strangerOf = (index: number) => ({
  chain: randomWords(5000 + index, 2 * sharedBlocks),
  promptTokens: sharedBlocks * blockTokens + 32,
});
const times = <Item>(count: number, make: (index: number) => Item): Item[] =>
  Array.from({ length: count }, (_, index) => make(index));

describe('a burst of 32 that share 3,000 tokens, over four idle replicas', () => {
  test('neither lands on one replica nor scatters over all', () => {
    for (const seed of [1, 2, 3, 4]) {
      const { send } = cellOf(4, { seed, isNew: seed % 2 === 0 });
      const counts = countsOf(
        times(32, (index) => send(siblingOf(index))),
        4,
      );
      // A second copy is worth its 470 ms of prefill once the first holder's queue is as long as it is priced.
      const [first = 0, second = 0, ...others] = counts.toSorted((left, right) => right - left);
      expect([first <= 20, second >= 12, others]).toEqual([true, true, [0, 0]]);
    }
  });

  test('is seen sibling by sibling: the second expects what the first will leave', () => {
    const { send } = cellOf(4);
    const [first, second] = times(2, (index) => send(siblingOf(index)));
    expect([first?.choice.expectedTokens, second?.choice.expectedTokens]).toEqual([0, 3008]);
    expect(second?.choice.member).toBe(first?.choice.member);
  });

  test('expects nothing of a sibling that failed before its first byte', () => {
    const { cell, send } = cellOf(4);
    const first = send(siblingOf(0));
    if (first !== undefined) cell.settle(first.reservation, { nowMs: 10 });
    expect(first?.choice.member.work.load.live).toBe(0);
    expect(send(siblingOf(1))?.choice.expectedTokens).toBe(0);
  });

  test('goes evenly to all by load alone', () => {
    const { cell, send } = cellOf(4);
    cell.usePolicy(leastLoaded);
    expect(
      countsOf(
        times(32, (index) => send(siblingOf(index))),
        4,
      ),
    ).toEqual([8, 8, 8, 8]);
  });

  test('of prompts with nothing in common goes evenly to all', () => {
    const { send } = cellOf(4);
    expect(
      countsOf(
        times(32, (index) => send(strangerOf(index))),
        4,
      ),
    ).toEqual([8, 8, 8, 8]);
  });
});

describe('ties', () => {
  test('are drawn at random among all', () => {
    const { cell, send } = cellOf(4);
    const sent = times(400, (index) => {
      const one = send(strangerOf(index));
      if (one !== undefined) cell.settle(one.reservation, { nowMs: 0 });
      return one;
    });
    for (const count of countsOf(sent, 4)) expect(Math.abs(count - 100)).toBeLessThan(40);
  });
});

describe('a session', () => {
  const turn = (blocks: number) => ({
    chain: randomWords(9, 2 * blocks),
    promptTokens: blocks * blockTokens + 10,
  });

  test('returns to who holds it, and its follow-up is expected there whole', () => {
    const { members, hear, send } = cellOf(4);
    const holder = members[2];
    if (holder === undefined) throw new Error('four members');
    hear(holder, [{ tier: 'device', digests: turn(40).chain }]);
    expect(times(10, () => send(turn(50))?.choice).every((choice) => choice?.member === holder)).toBe(true);
    expect(send(turn(40))?.choice).toMatchObject({ heldBlocks: 40, expectedTokens: 2560 });
  });

  test('is pinned to nobody: it goes on elsewhere once its replica lost the cache, or left', () => {
    const { cell, members, hear, restart, send } = cellOf(4);
    const [first, second] = members;
    if (first === undefined || second === undefined) throw new Error('four members');
    for (const holder of [first, second]) hear(holder, [{ tier: 'device', digests: turn(40).chain }]);
    restart(first);
    expect(send(turn(40))?.choice.member).toBe(second);
    cell.leave(second, 0);
    const { member, expectedTokens } = send(turn(40))?.choice ?? {};
    expect([member === second, expectedTokens]).toEqual([false, 0]);
    expect(cell.size).toBe(3);
  });

  test('in a slower tier counts, but less than on a device', () => {
    const { members, hear, send } = cellOf(2);
    const [slower, faster] = members;
    if (slower === undefined || faster === undefined) throw new Error('two members');
    hear(slower, [{ tier: 'host', digests: turn(40).chain }]);
    const { choice } = send(turn(40)) ?? {};
    expect(choice).toMatchObject({ member: slower, heldBlocks: 40, expectedTokens: 0.75 * 2560 });
    expect(choice?.candidate.cachedTokens).toBe(choice?.expectedTokens);
    hear(faster, [{ tier: 'device', digests: turn(40).chain }]);
    expect(send({ ...turn(40), nowMs: 10_000 })?.choice.member).toBe(faster);
  });
});

describe('a new replica', () => {
  /** Three that work, with six requests each. */
  const busyWorld = () => {
    const world = cellOf(3);
    for (let index = 0; index < 18; index += 1) world.send(strangerOf(index));
    return world;
  };

  test('takes only a few of a burst, however idle it is, and more with each answer', () => {
    const { cell, join, send } = busyWorld();
    const fresh = join();
    const sent = times(32, (index) => send(strangerOf(100 + index)));
    expect(countsOf(sent, 4)[fresh.number]).toBe(4);
    const own = sent.filter((one) => one?.choice.member === fresh);
    for (const one of own.slice(0, 2)) if (one !== undefined) cell.firstByte(one.reservation, 500);
    times(32, (index) => send(strangerOf(200 + index)));
    expect(fresh.work.load.live).toBe(4 + 2 * 2);
  });

  test('is one like all others after sixteen answers', () => {
    const { cell, join, send } = busyWorld();
    const fresh = join();
    for (let answered = 0; answered < 16; answered += 1) {
      const one = send({ ...strangerOf(answered), isEligible: (member) => member === fresh });
      if (one === undefined) throw new Error('it is eligible');
      cell.firstByte(one.reservation, 10 * answered);
      cell.settle(one.reservation, { nowMs: 10 * answered });
    }
    cell.usePolicy(leastLoaded);
    const sent = times(6, (index) => send(strangerOf(100 + index)));
    expect(countsOf(sent, 4)[fresh.number]).toBe(6);
  });

  test('is a replica whose engine restarted, too', () => {
    const { cell, members, restart, send } = cellOf(2);
    cell.usePolicy(leastLoaded);
    const [first] = members;
    if (first === undefined) throw new Error('two members');
    restart(first);
    const sent = times(20, (index) => send(strangerOf(index)));
    expect(countsOf(sent, 2)).toEqual([4, 16]);
  });

  test('keeps what it has begun when the others are as new: a fleet that begins under load', () => {
    const { cell, members, hear, send } = cellOf(4, { isNew: true });
    const [holder, other] = members;
    if (holder === undefined || other === undefined) throw new Error('four members');
    other.work.answered = 16;
    hear(holder, [{ tier: 'device', digests: shared }]);
    cell.usePolicy(predictedLatency);
    const sent = times(6, (index) => send(siblingOf(index)));
    expect(countsOf(sent, 4)[holder.number]).toBe(6);
  });

  test('gets everything when there is nobody else', () => {
    const { send } = cellOf(1, { isNew: true });
    expect(
      countsOf(
        times(50, (index) => send(strangerOf(index))),
        1,
      ),
    ).toEqual([50]);
  });
});

test('one slow prefill says little before any is known: siblings still follow it to where their start will be', () => {
  const { send } = cellOf(4, { isNew: true });
  const sent = times(5, (index) => send({ ...siblingOf(index), nowMs: 2000 * index }));
  expect(countsOf(sent, 4).toSorted()).toEqual([0, 0, 0, 5]);
});

test('a replica that gives no sign of life fills up while time passes, though its queue is the shortest', () => {
  const { cell, members, send } = cellOf(2);
  const [silent, alive] = members;
  if (silent === undefined || alive === undefined) throw new Error('two members');
  send({ ...strangerOf(0), isEligible: (member) => member === silent });
  const others = times(3, (index) =>
    send({ ...strangerOf(index), isEligible: (member) => member === alive }),
  );
  expect(send(strangerOf(10))?.choice.member).toBe(silent);
  for (const one of others.slice(0, 2)) if (one !== undefined) cell.firstByte(one.reservation, 29_000);
  const sent = times(8, (index) => send({ ...strangerOf(20 + index), nowMs: 30_000 }));
  expect(countsOf(sent, 2)).toEqual([0, 8]);
});

describe('what ends', () => {
  test('is compared with what was expected, and a liar is demoted, whatever it clears', () => {
    const { cell, members, hear, restart, send } = cellOf(1);
    const [member] = members;
    if (member === undefined) throw new Error('one member');
    hear(member, [{ tier: 'device', digests: shared }]);
    expect(member.trust).toBe('exact');
    for (let index = 0; index < 16; index += 1) {
      const one = send(siblingOf(0));
      if (one === undefined) throw new Error('it is eligible');
      cell.firstByte(one.reservation, 100 * index);
      cell.settle(one.reservation, { nowMs: 100 * index + 50, cachedTokens: 0, completionTokens: 2 });
    }
    expect([member.trust, member.truth.share]).toEqual(['blind', 0]);
    // What is told of the decision is what its cost counted: nothing of a liar's claims.
    expect(send(siblingOf(1))?.choice).toMatchObject({ expectedTokens: 0, candidate: { cachedTokens: 0 } });
    restart(member);
    // Clearing its cache does not clear it.
    expect([member.trust, member.truth.share]).toEqual(['blind', 0]);
  });

  test('is expected in the cache for a second more; by then the agent has told what is', () => {
    const { cell, send } = cellOf(1);
    const one = send(siblingOf(0));
    if (one === undefined) throw new Error('it is eligible');
    cell.firstByte(one.reservation, 5_000);
    cell.settle(one.reservation, { nowMs: 6_000 });
    const expectedAt = (nowMs: number) => {
      const next = send({ ...siblingOf(0), nowMs });
      if (next === undefined) throw new Error('it is eligible');
      // This one never begins, so that it leaves no guess of its own.
      cell.settle(next.reservation, { nowMs });
      return next.choice.expectedTokens;
    };
    expect([expectedAt(6_999) > 0, expectedAt(7_000)]).toEqual([true, 0]);
  });

  test('teaches the replica its rates, and a later one begins with them', () => {
    const { cell, members, join, send } = cellOf(1);
    for (let index = 0; index < 60; index += 1) {
      const one = send({ ...strangerOf(index), nowMs: 10_000 * index });
      if (one === undefined) throw new Error('it is eligible');
      cell.firstByte(one.reservation, 10_000 * index + 2000);
      cell.settle(one.reservation, { nowMs: 10_000 * index + 2990, cachedTokens: 0, completionTokens: 100 });
    }
    const fresh = join();
    const choices = [members[0], fresh].map(
      (only) => send({ ...strangerOf(99), nowMs: 1e6, isEligible: (member) => member === only })?.choice,
    );
    for (const choice of choices) {
      expect(Math.abs((choice?.candidate.prefillMs ?? 0) / 2000 - 1)).toBeLessThan(0.1);
      expect(Math.abs((choice?.candidate.stepMs ?? 0) / 10 - 1)).toBeLessThan(0.15);
    }
  });

  test('twice, or after its replica left, means nothing', () => {
    const { cell, members, send } = cellOf(2);
    const one = send(strangerOf(0));
    const other = send(strangerOf(1));
    if (one === undefined || other === undefined) throw new Error('they are eligible');
    cell.settle(one.reservation, { nowMs: 1 });
    cell.settle(one.reservation, { nowMs: 1 });
    cell.leave(other.choice.member, 2);
    cell.settle(other.reservation, { nowMs: 3 });
    cell.firstByte(other.reservation, 3);
    expect(members.map(({ work }) => work.load.live)).toEqual([0, 0]);
  });
});

describe('policies', () => {
  test('change while requests run', () => {
    const { cell, send } = cellOf(4);
    expect(cell.policy).toBe('predicted-latency');
    cell.usePolicy(roundRobin);
    expect(times(5, (index) => send(siblingOf(index))?.choice.member.number)).toEqual([0, 1, 2, 3, 0]);
  });

  test('decide beside another without a say, and where they would have differed is counted', () => {
    const { cell, send } = cellOf(4);
    expect(cell.shadow).toBeUndefined();
    cell.useShadow(leastLoaded);
    const counts = countsOf(
      times(32, (index) => send(siblingOf(index))),
      4,
    );
    expect(counts.filter((count) => count > 0)).toHaveLength(2);
    expect(cell.shadow).toMatchObject({ name: 'least-loaded', decisions: 32 });
    expect(cell.shadow?.differences).toBeGreaterThan(20);
    cell.useShadow(random);
    send(siblingOf(40));
    expect(cell.shadow).toEqual({ name: 'random', decisions: 1, differences: 0 });
    cell.useShadow(undefined);
    expect(cell.shadow).toBeUndefined();
  });
});

describe('a cell', () => {
  test('has no map before a cache is known, and is full with as many replicas as planes have bits', () => {
    const { cell, join } = cellOf(0);
    expect([cell.counts, cell.size, cell.isFull]).toEqual([undefined, 0, false]);
    times(replicasPerCellMax, join);
    expect([cell.size, cell.isFull, cell.counts?.entries]).toEqual([replicasPerCellMax, true, 0]);
  });

  test('chooses nobody among none', () => {
    expect(cellOf(0).send({})).toBeUndefined();
    expect(cellOf(3).send({ isEligible: () => false })).toBeUndefined();
  });

  test('decides about a prompt that is empty, by whichever policy', () => {
    for (const policy of policies) {
      const { cell, send } = cellOf(3);
      cell.usePolicy(policy);
      const { cost, expectedTokens } = send({ promptTokens: 0 })?.choice ?? {};
      expect([Number.isFinite(cost), expectedTokens]).toEqual([true, 0]);
    }
  });

  test('lets who left finish what it was booked for', () => {
    const { cell, members, send } = cellOf(1);
    const [member] = members;
    if (member === undefined) throw new Error('one member');
    const booked = Array.from({ length: 3 }, (_, index) => send(strangerOf(index)));
    expect([member.work.load.live, cell.meanLive]).toEqual([3, 3]);
    cell.leave(member, 0);
    expect([member.work.load.live, cell.meanLive]).toEqual([3, 0]);
    for (const sent of booked) if (sent !== undefined) cell.settle(sent.reservation, { nowMs: 1 });
    expect(member.work.load.live).toBe(0);
  });
});

test('a cell counts who sits in it, and nobody twice', () => {
  const { cell, members, join } = cellOf(3);
  for (const member of [members[1], members[1]]) if (member !== undefined) cell.leave(member, 0);
  expect(cell.size).toBe(2);
  join();
  expect([cell.size, cell.isFull]).toEqual([3, false]);
});
