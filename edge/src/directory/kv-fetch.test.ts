/** When a replica had better fetch a prompt's beginning, from whom, and what a cell makes of that. */
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockTokens, cellOf } from '../../testing/cells.ts';
import { randomWords } from '../../testing/digests.ts';
import { leastLoaded } from '../policy/least-loaded.ts';
import { weighted } from '../policy/weighted.ts';
import type { CellRequest } from './cell.ts';
import type { Member } from './member.ts';

const blocks = 47;
const chain = randomWords(1, 2 * blocks);
const promptTokens = blocks * blockTokens + 32;
const prompt = { chain, promptTokens };
const nodeOf = (number: number): NodeId => `n${number}` as NodeId;

interface Moving {
  readonly namespace?: string;
  readonly bytesPerToken?: number;
  readonly insertBytesPerMs?: number;
  /** By the other's number. */
  readonly reach?: Readonly<Record<number, Partial<PeerReach>>>;
}

const fast = { rttMs: 1, bytesPerMs: 1e6 };

/** A cell in which KV moves, as each of them is said to; undefined: of that one it does not. */
const movingCell = (moving: readonly (Moving | undefined)[]) => {
  const world = cellOf(moving.length, { nodeOf });
  for (const [number, one] of moving.entries()) {
    const work = world.members[number]?.work;
    if (one === undefined || work === undefined) continue;
    const { namespace = 'n', bytesPerToken = 1_000, insertBytesPerMs = 1e6, reach = {} } = one;
    const reached = Object.entries(reach).map(([other, figures]): [NodeId, PeerReach] => {
      const node = nodeOf(Number(other));
      return [node, { node, transport: 'tls', ...fast, ...figures }];
    });
    const mover = { name: 'r0' as ReplicaName, namespace, bytesPerToken, insertBytesPerMs };
    work.kv = { mover, reach: new Map(reached) };
  }
  const hold = (number: number, count = blocks, tier: 'host' | 'device' = 'host'): void => {
    const member = world.members[number];
    if (member !== undefined) world.hear(member, [{ tier, digests: chain.slice(0, 2 * count) }]);
  };
  /** What that one would do, were it alone eligible. Books nothing. */
  const alone = (number: number, more: Partial<CellRequest> = {}) => {
    const choice = world.cell.weigh({
      ...{ ...prompt, blockTokens, isStream: true, nowMs: 0, random: () => 0, isLeased: () => true },
      isEligible: (member) => member === world.members[number],
      ...more,
    });
    return choice && { ...choice, candidate: { ...choice.candidate } };
  };
  return { ...world, hold, alone };
};

test('a replica fetches what another node holds, and its cost counts that in the place of the prefill', () => {
  const { hold, alone } = movingCell([{}, { reach: { 0: {} } }]);
  const without = alone(1)?.candidate.prefillMs ?? 0;
  hold(0);
  const choice = alone(1);
  expect(choice?.candidate.fetch).toMatchObject({ from: 'n0', blocks });
  // One round trip, and 3,008 tokens of 1,000 bytes over a wire and into an engine that take 1 MB/ms each.
  expect(choice?.candidate.fetch?.ms).toBeCloseTo(1 + (2 * blocks * blockTokens * 1_000) / 1e6, 9);
  expect(choice?.candidate.prefillMs).toBeLessThan(without / 10);
  expect(choice?.candidate.cachedTokens).toBe(0);
  expect(choice?.expectedTokens).toBe(blocks * blockTokens);
});

test('the holder itself fetches nothing, nor who has as much in its own cache', () => {
  const { hold, alone } = movingCell([{ reach: { 1: {} } }, { reach: { 0: {} } }]);
  hold(0);
  hold(1, blocks, 'device');
  expect([alone(0)?.candidate.fetch, alone(1)?.candidate.fetch]).toEqual([undefined, undefined]);
});

describe('nothing is fetched', () => {
  const [giver, taker] = [{}, { reach: { 0: {} } }];
  test.each<[string, Moving | undefined, Moving | undefined]>([
    ['that takes as long as its prefill: far away', giver, { reach: { 0: { rttMs: 60_000 } } }],
    ['that takes as long as its prefill: a slow way', giver, { reach: { 0: { bytesPerMs: 1 } } }],
    ['over a way that brings nothing', giver, { reach: { 0: { bytesPerMs: 0 } } }],
    ['that the engine takes as long to take in', giver, { ...taker, insertBytesPerMs: 1 }],
    ['from a node that is not reached', giver, { reach: { 7: {} } }],
    ['of another namespace', { namespace: 'm' }, taker],
    ['from a replica whose KV does not move', undefined, taker],
    ['to a replica whose KV does not move', giver, undefined],
  ])('%s', (_, one, other) => {
    const { hold, alone } = movingCell([one, other]);
    hold(0);
    expect(alone(1)).toMatchObject({ candidate: { fetch: undefined } });
  });

  test('from a node without a lease, or that holds it on the device alone', () => {
    const { hold, alone } = movingCell([giver, taker]);
    hold(0, blocks, 'device');
    expect(alone(1)?.candidate.fetch).toBeUndefined();
    hold(0);
    expect(alone(1, { isLeased: (node: NodeId) => node !== 'n0' })?.candidate.fetch).toBeUndefined();
    expect(alone(1)?.candidate.fetch).toBeDefined();
  });

  test('where the policy goes by load alone', () => {
    const { cell, hold, alone } = movingCell([giver, taker]);
    hold(0);
    cell.usePolicy(leastLoaded);
    expect(alone(1)?.candidate.fetch).toBeUndefined();
    cell.usePolicy(weighted);
    expect(alone(1)?.candidate.fetch?.from).toBe('n0');
  });
});

test('a node that takes no requests gives KV all the same', () => {
  const { hold, alone } = movingCell([{}, { reach: { 0: {} } }]);
  hold(0);
  expect(alone(1)?.candidate.fetch?.from).toBe('n0');
});

test('a busy holder’s prompt goes to a replica that can fetch it, and not to one that cannot', () => {
  const { members, hold, send } = movingCell([{}, {}, { reach: { 0: {} } }]);
  hold(0);
  hold(0, blocks, 'device');
  expect(send(prompt)?.choice.member).toBe(members[0]);
  for (let sibling = 0; sibling < 6; sibling += 1) {
    const own = { chain: randomWords(50 + sibling, 60), promptTokens: 2_000 };
    send({ ...own, isEligible: (member: Member) => member === members[0] });
  }
  const { member, candidate } = send(prompt)?.choice ?? {};
  expect([member?.number, candidate?.fetch?.from]).toEqual([2, 'n0']);
});

test('a fetch that may not have happened teaches nothing of how long a prefill takes', () => {
  const learned = (isHeld: boolean): number => {
    const { cell, members, hold, send } = movingCell([{}, { reach: { 0: {} } }]);
    if (isHeld) hold(0);
    const isEligible = (member: Member): boolean => member === members[1];
    for (let nowMs = 0; nowMs < 600_000; nowMs += 20_000) {
      const sent = send({ ...prompt, nowMs, isEligible });
      if (sent === undefined) throw new Error('nobody is eligible');
      expect(sent.choice.candidate.fetch === undefined).toBe(!isHeld);
      cell.firstByte(sent.reservation, nowMs + 9_000);
      cell.settle(sent.reservation, { nowMs: nowMs + 9_500, promptTokens, cachedTokens: 0 });
    }
    const terms = { uncachedTokens: promptTokens, contextTokens: promptTokens, decoding: 0 };
    return members[1]?.work.rates?.prefillMs(terms, 600_000) ?? 0;
  };
  expect([learned(false) > 5_000, learned(true) < 2_000]).toEqual([true, true]);
});

const figures = fc.record({
  rttMs: fc.double({ min: 0, max: 400, noNaN: true }),
  bytesPerMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
});
const moverOf = fc.record({
  namespace: fc.constantFrom('n', 'm'),
  bytesPerToken: fc.integer({ min: 1, max: 200_000 }),
  insertBytesPerMs: fc.double({ min: 1, max: 1e7, noNaN: true }),
  reach: fc.array(fc.option(figures, { nil: undefined }), { minLength: 5, maxLength: 5 }),
});

test('of any fleet the fetch is the one that spares most, by a plain count', () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(moverOf, { nil: undefined }), { minLength: 5, maxLength: 5 }),
      fc.array(fc.nat(blocks), { minLength: 5, maxLength: 5 }),
      fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      (movers, held, leased) => {
        const moving = movers.map((mover) =>
          mover === undefined
            ? undefined
            : {
                ...mover,
                reach: Object.fromEntries(mover.reach.entries().filter(([, one]) => one !== undefined)),
              },
        );
        const { hold, alone, members } = movingCell(moving as readonly (Moving | undefined)[]);
        for (const [number, count] of held.entries()) hold(number, count);
        const isLeased = (node: NodeId): boolean => leased[Number(node.slice(1))] ?? false;
        for (const [number, mover] of movers.entries()) {
          const candidate = alone(number, { isLeased })?.candidate;
          const prefillOf = (cached: number): number =>
            members[number]?.work.rates?.prefillMs(
              { uncachedTokens: promptTokens - cached, contextTokens: promptTokens, decoding: 0 },
              0,
            ) ?? 0;
          const own = 0.75 * (held[number] ?? 0) * blockTokens;
          const costs = movers.map((giver, from) => {
            const way = mover?.reach[from];
            const tokens = (held[from] ?? 0) * blockTokens;
            const isOut = from === number || !leased[from] || giver?.namespace !== mover?.namespace;
            if (mover === undefined || giver === undefined || way === undefined || isOut || tokens <= own) {
              return Number.POSITIVE_INFINITY;
            }
            const bytes = tokens * mover.bytesPerToken;
            return way.rttMs + bytes / way.bytesPerMs + bytes / mover.insertBytesPerMs + prefillOf(tokens);
          });
          const least = Math.min(prefillOf(own), ...costs);
          expect((candidate?.fetch?.ms ?? 0) + (candidate?.prefillMs ?? 0)).toBeCloseTo(least, 6);
          expect(candidate?.fetch === undefined).toBe(least === prefillOf(own));
        }
      },
    ),
    { numRuns: 60 },
  );
});
