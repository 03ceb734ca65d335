/** Cells after a loss: whoever comes back, in whatever order, with whatever newcomers in between. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TestDatabase } from '../../testing/sql.ts';
import { CellPlan } from './cell-plan.ts';
import { CellStore } from './cell-store.ts';
import { Directory } from './directory.ts';

const model = 'm';
const models = [{ id: model, createdSeconds: 1, ownedBy: 'x' }];

const run = (
  nodes: number,
  cellReplicasMax: number,
  redials: readonly { readonly node: number; readonly isLost: boolean }[],
): void => {
  const database = new TestDatabase();
  const open = (): Directory => {
    const plan = new CellPlan(new CellStore(database.sql), 0);
    return new Directory({ secret: 1, cellReplicasMax, askSnapshot: () => 0, plan });
  };
  let directory = open();
  let epoch = 0;
  const join = (node: number): void => {
    epoch += 1;
    const name = `n${node}`;
    const replicas = ['r0', 'r1'].map((replica) => ({
      ...{ name: replica as ReplicaName, state: 'ready' as const, models },
    }));
    directory.join(name as NodeId, epoch as Epoch, name, replicas, 0);
  };
  /** Cells by the number of who sits in them; no cell holds more than it may. */
  const cellsOf = (): Map<string, number> => {
    const served = directory.served().get(model);
    const found = new Map<string, number>();
    for (const [number, cell] of served?.cells ?? []) {
      expect(cell.size).toBeLessThanOrEqual(cellReplicasMax);
      for (let at = 0; at < 64; at += 1) {
        const member = cell.memberAt(at);
        const owner = member === undefined ? undefined : served?.ownerOf(member);
        if (owner !== undefined) found.set(`${owner.node.node}/${owner.name}`, number);
      }
    }
    return found;
  };
  for (let node = 0; node < nodes; node += 1) join(node);
  const former = cellsOf();
  expect(former.size).toBe(2 * nodes);
  directory = open();
  for (const { node, isLost } of redials) {
    // Once more, in the middle of it.
    if (isLost) directory = open();
    join(node);
    for (const [replica, number] of cellsOf()) {
      if (former.has(replica)) expect([replica, number]).toEqual([replica, former.get(replica)]);
    }
  }
};

test('each surviving replica sits in its former cell, in any order of redial, newcomers or not', () => {
  const shape = fc.tuple(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 1, max: 5 }));
  const cases = shape
    // With one cell alone everybody who fits is at home in it: the plan begins with the second.
    .filter(([nodes, replicasMax]) => 2 * nodes > replicasMax)
    .chain(([nodes, replicasMax]) => {
      const redial = fc.record({ node: fc.nat(nodes + 4), isLost: fc.nat(9).map((of) => of === 0) });
      return fc.tuple(fc.constant(nodes), fc.constant(replicasMax), fc.array(redial, { maxLength: 30 }));
    });
  fc.assert(
    fc.property(cases, ([nodes, replicasMax, redials]) => run(nodes, replicasMax, redials)),
    {
      numRuns: 300,
    },
  );
});
