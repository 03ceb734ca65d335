/** Replicas come back to the cells they sat in: after cut links, and after the loss of everything but the database. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import {
  cellPlaceFirmMs,
  cellPlaceMsMax,
  cellPlacesMax,
  replicasPerNodeMax,
} from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { TestDatabase } from '../../testing/sql.ts';
import { CellPlan } from './cell-plan.ts';
import { CellStore } from './cell-store.ts';
import { Directory } from './directory.ts';

const namesOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}`);

/** A region's object over its database: `lose` leaves nothing but what is in there. */
const region = (cellReplicasMax: number, database = new TestDatabase()) => {
  let epoch = 1;
  const open = (nowMs: number): Directory =>
    new Directory({
      ...{ secret: 1, cellReplicasMax, askSnapshot: () => 0 },
      plan: new CellPlan(new CellStore(database.sql), nowMs),
    });
  let directory = open(0);
  const ready = (model: string) => ({
    name: 'r0' as ReplicaName,
    state: 'ready' as const,
    models: [{ id: model, createdSeconds: 1, ownedBy: 'x' }],
  });
  return {
    database,
    join: (name: string, nowMs = 0, model = 'm'): void => {
      directory.sweep(nowMs);
      epoch += 1;
      directory.join(name as NodeId, epoch as Epoch, name, [ready(model)], nowMs);
    },
    /** Of one node, in place of those it had. */
    name64: (node: string, letter: string): void => {
      epoch += 1;
      const replicas = Array.from({ length: 64 }, (_, at) => ({
        ...{ ...ready('m'), name: `${letter}${at}` as ReplicaName },
      }));
      directory.join(node as NodeId, epoch as Epoch, node, replicas, 0);
    },
    leave: (name: string, nowMs = 0): void =>
      directory.leave(name as NodeId, epochOf(directory, name), nowMs),
    sweep: (nowMs: number): void => directory.sweep(nowMs),
    lose: (nowMs = 0): void => {
      directory = open(nowMs);
    },
    /** Who sits with whom, in cells of one model. */
    companies: (model = 'm'): string[] => {
      const served = directory.served().get(model);
      const cells = [...(served?.cells.values() ?? [])].map((cell) => {
        const members = Array.from({ length: 64 }, (_, number) => cell.memberAt(number));
        const owners = members.flatMap((member) => (member && served?.ownerOf(member)) ?? []);
        return owners.map(({ node }) => node.node).sort();
      });
      return cells.map((names) => names.join(' ')).sort();
    },
  };
};

const epochOf = (directory: Directory, name: string): Epoch =>
  (directory.nodes(0).find(({ node }) => node === name)?.epoch ?? 0) as Epoch;

test('while a model has one cell nothing is written; with the second, everybody’s place', () => {
  const { database, join } = region(4);
  for (const name of namesOf(4)) join(name);
  expect(database.writes).toBe(0);
  join('n4');
  expect(database.writes).toBe(5);
  join('n4');
  expect(database.writes).toBe(5);
});

test('a fleet that grows moves nobody: a newcomer fills what is free, then opens a cell', () => {
  const { join, leave, sweep, companies } = region(2);
  for (const name of namesOf(5)) join(name);
  expect(companies()).toEqual(['n0 n1', 'n2 n3', 'n4']);
  leave('n2', 0);
  join('n5', 1);
  expect(companies()).toEqual(['n0 n1', 'n3', 'n4 n5']);
  // The place of who just left is kept, so this is a cell more.
  join('n6', cellPlaceFirmMs - 1);
  expect(companies()).toEqual(['n0 n1', 'n3', 'n4 n5', 'n6']);
  sweep(cellPlaceMsMax);
  join('n7', cellPlaceMsMax);
  expect(companies()).toEqual(['n0 n1', 'n3 n7', 'n4 n5', 'n6']);
});

test('once redials are over a newcomer has an away place, if that spares a cell', () => {
  const { join, leave, companies } = region(2);
  for (const name of namesOf(5)) join(name);
  for (const name of ['n1', 'n2']) leave(name, 0);
  join('n5', cellPlaceFirmMs);
  // Three cells for four replicas, where two would do: of the lowest cell who is away is given up.
  expect(companies()).toEqual(['n0 n5', 'n3', 'n4']);
  join('n2', cellPlaceFirmMs);
  expect(companies()).toEqual(['n0 n5', 'n2 n3', 'n4']);
});

test('a node that names as many replicas again has places for so many as it may have', () => {
  const database = new TestDatabase();
  const open = (nowMs: number) => new CellPlan(new CellStore(database.sql), nowMs);
  const namesAs = (letter: string) =>
    Array.from({ length: replicasPerNodeMax }, (_, at) => `bad/${letter}${at}`);
  const plan = open(0);
  plan.begin('m', ['good/r0', ...namesAs('a').slice(1)]);
  plan.assign('m', 'bad/a0', replicasPerNodeMax, 0);
  for (const replica of namesAs('a')) plan.left('m', replica, 1);
  for (const replica of namesAs('b')) plan.assign('m', replica, replicasPerNodeMax, 2);
  for (const replica of namesAs('b')) plan.left('m', replica, 3);
  for (const kept of [plan, open(4)]) {
    const places = [...kept.sizes('m').values()].reduce((sum, size) => sum + size, 0);
    expect([places, kept.cellOf('m', 'good/r0')]).toEqual([1 + replicasPerNodeMax, 0]);
    expect(namesAs('a').filter((replica) => kept.cellOf('m', replica) !== undefined)).toEqual([]);
  }
});

test('a node that names 64 replicas twice and leaves does not split a small fleet, over a restart either', () => {
  const { join, name64, leave, lose, companies } = region(64);
  join('n0');
  for (const letter of ['a', 'b']) name64('bad', letter);
  leave('bad', 0);
  lose(0);
  for (const name of namesOf(4)) join(name, cellPlaceFirmMs);
  expect(companies()).toEqual(['n0 n1 n2 n3']);
});

test('a full cell takes back who was away, and who comes after its time sits elsewhere', () => {
  const { join, leave, companies } = region(2);
  for (const name of namesOf(4)) join(name);
  leave('n0', 0);
  join('n0', cellPlaceMsMax - 1);
  expect(companies()).toEqual(['n0 n1', 'n2 n3']);
  leave('n0', cellPlaceMsMax);
  join('n4', 2 * cellPlaceMsMax);
  join('n0', 2 * cellPlaceMsMax);
  expect(companies()).toEqual(['n0', 'n1 n4', 'n2 n3']);
});

test('a place that nobody came back for is no longer in the database', () => {
  const { database, join, lose, sweep, companies } = region(2);
  for (const name of namesOf(4)) join(name);
  lose(1_000);
  for (const name of ['n3', 'n0']) join(name, 2_000);
  expect(companies()).toEqual(['n0', 'n3']);
  sweep(1_000 + cellPlaceMsMax);
  const rows = database.sql.exec('SELECT replica, cell FROM cell_places ORDER BY replica').toArray();
  expect(rows.map(({ replica, cell }) => `${replica} ${cell}`)).toEqual(['n0/r0 0', 'n3/r0 1']);
});

test('when all links are cut at once, and with them the model, each comes back to its cell', () => {
  const { join, leave, companies } = region(2);
  for (const name of namesOf(6)) join(name);
  const before = companies();
  for (const name of namesOf(6)) leave(name);
  expect(companies()).toEqual([]);
  for (const name of ['n5', 'n0', 'n3', 'n1', 'n4', 'n2']) join(name);
  expect(companies()).toEqual(before);
});

test('cells that were made smaller take who finds room; the others sit elsewhere', () => {
  const database = new TestDatabase();
  const before = region(4, database);
  for (const name of namesOf(5)) before.join(name);
  const after = region(2, database);
  for (const name of namesOf(5)) after.join(name);
  expect(after.companies()).toEqual(['n0 n1', 'n2 n4', 'n3']);
});

test('places of those that are away are bounded: who left first is given up first', () => {
  const plan = new CellPlan(undefined, 0);
  const names = namesOf(cellPlacesMax + 2);
  plan.begin('m', names);
  for (const [index, name] of names.entries()) plan.left('m', name, index);
  expect([plan.cellOf('m', 'n0'), plan.cellOf('m', 'n1')]).toEqual([undefined, undefined]);
  expect(plan.cellOf('m', 'n2')).toBe(0);
});
