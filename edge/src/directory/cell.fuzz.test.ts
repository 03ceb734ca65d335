/**
 * A cell against plain lists: members with what their agents' ledgers hold, and live requests with what each has made
 * likely. Over random joins, leaves, deltas (heard, lost or of an engine that began anew), snapshots, bookings, first
 * bytes and ends, every candidate must be described by just what the lists say.
 */
import type { Epoch } from '@cognitora/protocol/ids';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestsOf, KvLedger } from '../../testing/kv-ledger.ts';
import { seededRandom } from '../../testing/random.ts';
import { Cell, type CellRequest } from './cell.ts';
import type { Reservation } from './load.ts';
import { type Member, newReplicaWork } from './member.ts';
import { SnapshotTurns } from './snapshot-turns.ts';

const blockTokens = 64;
const replicasMax = 5;
const epoch = 1 as Epoch;
/** Prompts of one family share all blocks but the last few, families the first two. */
const blocksMax = 12;
const blockOf = (family: number, place: number): number => (place < 2 ? place : 100 * family + place);
const promptOf = (family: number, blocks: number): number[] =>
  Array.from({ length: blocks }, (_, place) => blockOf(family, place));

interface Replica {
  readonly member: Member;
  readonly ledger: KvLedger;
  /** The snapshot that was asked for last and is not answered yet. */
  asked: number | undefined;
}

interface Live {
  readonly reservation: Reservation;
  readonly replica: Replica;
  /** Blocks that it made likely; empty once that was taken back or its replica's slot was cleared. */
  likely: ReadonlySet<number>;
  isDecoding: boolean;
  isOver: boolean;
}

const family = fc.nat(2);
const blocks = fc.integer({ min: 0, max: blocksMax });
const at = fc.nat(9);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('join' as const) }),
  fc.record({ kind: fc.constant('leave' as const), at }),
  fc.record({
    kind: fc.constantFrom('hear' as const, 'hear' as const, 'miss' as const, 'restart' as const),
    at,
    tier: fc.constantFrom('device' as const, 'host' as const),
    added: fc.record({ family, blocks }),
    removed: fc.array(fc.record({ family, place: fc.nat(blocksMax - 1) }), { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant('snapshot' as const), at }),
  fc.record({ kind: fc.constant('send' as const), family, blocks, eligible: fc.nat(2 ** replicasMax - 1) }),
  fc.record({ kind: fc.constant('firstByte' as const), at }),
  fc.record({ kind: fc.constant('settle' as const), at }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(50) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;
type Send = Extract<Operation, { readonly kind: 'send' }>;
type Say = Extract<Operation, { readonly kind: 'hear' | 'miss' | 'restart' }>;

class World {
  readonly cell = new Cell({ secret: 3, turns: new SnapshotTurns(), mapBytes: 2 ** 18, replicasMax });
  readonly #random = seededRandom(11);
  #replicas: Replica[] = [];
  #requests: Live[] = [];
  #reservations = 0;
  #asks = 0;
  #nowMs = 0;

  run(each: Operation): void {
    const replica = 'at' in each ? this.#replicas[each.at % Math.max(1, this.#replicas.length)] : undefined;
    const request = 'at' in each ? this.#requests[each.at % Math.max(1, this.#requests.length)] : undefined;
    if (each.kind === 'wait') this.#nowMs += each.ms;
    else if (each.kind === 'join') this.#join();
    else if (each.kind === 'send') this.#send(each);
    else if (each.kind === 'leave') this.#leave(replica);
    else if (each.kind === 'snapshot') this.#answer(replica);
    else if (each.kind === 'firstByte') this.#firstByte(request);
    else if (each.kind === 'settle') this.#settle(request);
    else if (replica !== undefined) this.#say(replica, each);
    this.#check();
  }

  #join(): void {
    if (this.cell.isFull) return;
    let replica: Replica | undefined;
    const member = this.cell.join(newReplicaWork(), () => {
      this.#asks += 1;
      if (replica !== undefined) replica.asked = this.#asks;
      return this.#asks;
    });
    replica = { member, ledger: new KvLedger(), asked: undefined };
    this.#replicas.push(replica);
    member.announced = 'exact';
    member.feed.open(epoch, this.#nowMs);
  }

  #leave(replica: Replica | undefined): void {
    if (replica === undefined) return;
    this.cell.leave(replica.member, this.#nowMs);
    this.#replicas = this.#replicas.filter((other) => other !== replica);
    for (const live of this.#requests) if (live.replica === replica) live.isOver = true;
    this.#forgetLikely(replica);
  }

  #say(replica: Replica, { kind, tier, added, removed }: Say): void {
    const { member, ledger } = replica;
    const isRestart = kind === 'restart';
    const gone = removed.map((one) => blockOf(one.family, one.place));
    const delta = ledger.change(tier, promptOf(added.family, added.blocks), gone, isRestart);
    if (kind === 'miss') return;
    const wasInStep = member.feed.isInStep;
    member.feed.delta(delta, this.#nowMs);
    // A gap, or an engine that began anew: nothing of before counts.
    if (isRestart || (wasInStep && !member.feed.isInStep)) this.#forgetLikely(replica);
  }

  #answer(replica: Replica | undefined): void {
    if (replica?.asked === undefined) return;
    for (const part of replica.ledger.snapshot(replica.asked, 3)) {
      replica.member.feed.snapshotPart(part, this.#nowMs);
    }
    replica.asked = undefined;
  }

  #forgetLikely(replica: Replica): void {
    for (const live of this.#requests) if (live.replica === replica) live.likely = new Set();
  }

  #held(replica: Replica, tier: 'device' | 'host', block: number): boolean {
    const { feed } = replica.member;
    return feed.isInStep && (replica.ledger.heldAt(epoch, feed.sequence)?.has(`${tier} ${block}`) ?? false);
  }

  #isLikely(replica: Replica, block: number): boolean {
    return this.#requests.some((live) => live.replica === replica && live.likely.has(block));
  }

  /** Blocks from the prompt's start without a gap: on the device, on any tier, there or likely. */
  #depths(replica: Replica, prompt: readonly number[]): readonly [number, number, number] {
    const depthOf = (has: (block: number) => boolean): number => {
      const end = prompt.findIndex((block) => !has(block));
      return end < 0 ? prompt.length : end;
    };
    const onDevice = (block: number): boolean => this.#held(replica, 'device', block);
    const onAny = (block: number): boolean => onDevice(block) || this.#held(replica, 'host', block);
    return [
      depthOf(onDevice),
      depthOf(onAny),
      depthOf(
        (block) => onAny(block) || (replica.member.slot !== undefined && this.#isLikely(replica, block)),
      ),
    ];
  }

  #creditedTokens(replica: Replica, prompt: readonly number[]): number {
    const [device, held, expected] = this.#depths(replica, prompt);
    return (device + 0.75 * (held - device) + expected - held) * blockTokens;
  }

  #send(each: Send): void {
    const prompt = promptOf(each.family, each.blocks);
    const promptTokens = each.blocks * blockTokens + 5;
    const asked = this.#replicas.filter(({ member }) => ((each.eligible >>> member.number) & 1) === 1);
    const request: CellRequest = {
      chain: digestsOf(prompt),
      ...{ promptTokens, blockTokens, isStream: true, nowMs: this.#nowMs, random: this.#random },
      isLeased: () => true,
      isEligible: (member) => asked.some((replica) => replica.member === member),
    };
    const choice = this.cell.weigh(request);
    const eligible = this.#withinRamp(asked).toSorted(
      (one, other) => one.member.number - other.member.number,
    );
    expect(choice?.candidates.map(({ number }) => number) ?? []).toEqual(
      eligible.map(({ member }) => member.number),
    );
    if (choice === undefined) return;
    for (const [index, replica] of eligible.entries()) {
      const live = this.#requests.filter((one) => one.replica === replica && !one.isOver);
      expect(choice.candidates[index]).toMatchObject({
        cachedTokens: Math.min(this.#creditedTokens(replica, prompt), promptTokens - 1),
        live: live.length,
        decoding: live.filter(({ isDecoding }) => isDecoding).length,
      });
    }
    expect(choice.cost).toBe(Math.min(...choice.costs.subarray(0, eligible.length)));
    const replica = eligible.find(({ member }) => member === choice.member);
    if (replica === undefined) throw new Error('the choice is one of the eligible');
    const [, held] = this.#depths(replica, prompt);
    const credited = this.#creditedTokens(replica, prompt);
    expect([choice.heldBlocks, choice.expectedTokens]).toEqual([held, credited]);
    this.#reservations += 1;
    const reservation = this.#reservations as Reservation;
    this.cell.book(reservation, choice, request);
    const likely = new Set(replica.member.slot === undefined ? [] : prompt.slice(held));
    this.#requests.push({ reservation, replica, likely, isDecoding: false, isOver: false });
  }

  #withinRamp(asked: readonly Replica[]): readonly Replica[] {
    const answersOf = ({ member }: Replica): number => member.work.answered;
    if (!asked.some((replica) => answersOf(replica) >= 16)) return asked;
    const liveOf = (replica: Replica): number =>
      this.#requests.filter((one) => one.replica === replica && !one.isOver).length;
    return asked.filter(
      (replica) => answersOf(replica) >= 16 || liveOf(replica) < 4 + 2 * answersOf(replica),
    );
  }

  #firstByte(live: Live | undefined): void {
    if (live === undefined) return;
    this.cell.firstByte(live.reservation, this.#nowMs);
    if (!live.isOver) live.isDecoding = true;
  }

  #settle(live: Live | undefined): void {
    if (live === undefined) return;
    this.cell.settle(live.reservation, { nowMs: this.#nowMs, completionTokens: 3 });
    if (!live.isOver && !live.isDecoding) live.likely = new Set();
    live.isOver = true;
  }

  #check(): void {
    expect(this.cell.size).toBe(this.#replicas.length);
    const live = this.#requests.filter(({ isOver }) => !isOver).length;
    expect(this.cell.meanLive).toBeCloseTo(live / Math.max(1, this.#replicas.length));
  }
}

test('every candidate is what plain lists say of it, whatever happened before', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const world = new World();
      for (let replicas = 0; replicas < 3; replicas += 1) world.run({ kind: 'join' });
      for (const each of operations) world.run(each);
    }),
    { numRuns: 200 },
  );
});
