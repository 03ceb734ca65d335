/** For tests: a cell whose replicas' caches are known, and requests to it. Only tests import it. */
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import type { KvBlocks } from '@cognitora/protocol/kv';
import { Cell, type CellRequest, type Choice } from '../src/directory/cell.ts';
import type { Reservation } from '../src/directory/load.ts';
import { type Member, newReplicaWork } from '../src/directory/member.ts';
import { SnapshotTurns } from '../src/directory/snapshot-turns.ts';
import { seededRandom } from './random.ts';

export const blockTokens = 64;
const mapBytes = 2 ** 20;
/** More answers than any ramp asks for. */
const manyAnswers = 1000;

export interface CellWorld {
  readonly cell: Cell;
  readonly members: readonly Member[];
  /** Decides and books at once; undefined when nobody is eligible. */
  send(
    request: Partial<CellRequest>,
  ): { readonly reservation: Reservation; readonly choice: Choice } | undefined;
  /** Engines hold these from now on, or no more. */
  hear(member: Member, added: readonly KvBlocks[], removed?: readonly KvBlocks[]): void;
  /** The engine of that replica starts anew. */
  restart(member: Member): void;
  join(): Member;
}

/** Replicas have answered before, unless they are `new`. */
export const cellOf = (
  replicas: number,
  { isNew = false, seed = 1, nodeOf = (_: number): NodeId | undefined => undefined } = {},
): CellWorld => {
  const cell = new Cell({ secret: 7, turns: new SnapshotTurns(), mapBytes });
  const random = seededRandom(seed);
  const sequences = new Map<Member, number>();
  let reservations = 0;
  const say = (
    member: Member,
    isCleared: boolean,
    added: readonly KvBlocks[],
    removed: readonly KvBlocks[],
  ): void => {
    const sequence = (sequences.get(member) ?? 0) + 1;
    sequences.set(member, sequence);
    member.feed.delta({ epoch: 1 as Epoch, sequence, isCleared, added, removed }, 0);
  };
  const join = (): Member => {
    const member = cell.join(newReplicaWork(nodeOf(cell.size)), () => 1);
    member.announced = 'exact';
    member.feed.open(1 as Epoch, 0);
    say(member, true, [], []);
    return member;
  };
  const members = Array.from({ length: replicas }, join);
  if (!isNew) for (const { work } of members) work.answered = manyAnswers;
  return {
    cell,
    members,
    join,
    restart: (member) => say(member, true, [], []),
    hear: (member, added, removed = []) => say(member, false, added, removed),
    send: (request) => {
      const whole = {
        ...{ chain: new Uint32Array(), promptTokens: 100, blockTokens, isStream: true, nowMs: 0, random },
        ...{ isEligible: () => true, isLeased: () => true, ...request },
      };
      const choice = cell.weigh(whole);
      if (choice === undefined) return undefined;
      reservations += 1;
      const reservation = reservations as Reservation;
      cell.book(reservation, choice, whole);
      return { reservation, choice: { ...choice } };
    },
  };
};

/** How many of these were sent to each replica, by its number. */
export const countsOf = (
  sent: readonly ({ readonly choice: Choice } | undefined)[],
  replicas: number,
): number[] => {
  const counts = Array.from({ length: replicas }, () => 0);
  for (const one of sent) {
    const number = one?.choice.member.number ?? -1;
    counts[number] = (counts[number] ?? 0) + 1;
  }
  return counts;
};
