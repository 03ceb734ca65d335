/** The directory against a plain model of it: a list of nodes and a list of live requests, searched from scratch. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { streamsPerLinkMax, unnamedLoadMsMax } from '@cognitora/protocol/limits';
import { type ReplicaReport, replicaStates } from '@cognitora/protocol/link';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { leastLoadedDirectory } from '../../testing/directories.ts';
import { type Decision, unreadPrompt } from './decision.ts';

const nodeNames = ['a', 'b', 'c'] as NodeId[];
const modelNames = ['m', 'n'];

const reports: fc.Arbitrary<ReplicaReport[]> = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('r0', 'r1', 'r2') as fc.Arbitrary<ReplicaName>,
    state: fc.constantFrom('ready' as const, 'ready' as const, ...replicaStates),
    models: fc.subarray(modelNames).map((ids) => ids.map((id) => ({ id, createdSeconds: 1, ownedBy: 'x' }))),
  }),
  { selector: ({ name }) => name, maxLength: 3 },
);

const node = fc.constantFrom(...nodeNames);
/** Ahead of, at, or behind the node's newest epoch. */
const epochStep = fc.constantFrom(-2, -1, 0, 1, 1, 3);
/** Mostly what the node's own link says. */
const spokenStep = fc.constantFrom(-1, 0, 0, 0, 0, 1);

const operation = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('join' as const), node, epochStep, reports }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('report' as const), node, epochStep: spokenStep, reports }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), node, epochStep: spokenStep }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lease' as const), node, leased: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('decide' as const),
      model: fc.constantFrom(...modelNames, 'unknown'),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), forwardMs: fc.nat(5_000_000) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

/** What ought to be: nothing derived, nothing indexed. */
class Model {
  nodes = new Map<NodeId, { epoch: number; reports: readonly ReplicaReport[] }>();
  unleased = new Set<NodeId>();
  /** Since when each replica loads without having said what. */
  unnamed = new Map<string, number>();
  live: { decision: Decision; node: NodeId; replica: ReplicaName }[] = [];

  loadOf(node: NodeId, replica: ReplicaName): number {
    return this.live.filter((request) => request.node === node && request.replica === replica).length;
  }

  join(node: NodeId, epoch: number, replicas: readonly ReplicaReport[], nowMs: number): void {
    this.leave(node);
    this.nodes.set(node, { epoch, reports: [] });
    this.report(node, replicas, nowMs);
  }

  report(node: NodeId, replicas: readonly ReplicaReport[], nowMs: number): void {
    const known = this.nodes.get(node);
    if (known === undefined) return;
    known.reports = replicas;
    const before = new Map(this.unnamed);
    this.forgetUnnamed(node);
    for (const { name, state, models } of replicas) {
      const id = `${node}/${name}`;
      if ((state === 'loading' || state === 'failed') && models.length === 0)
        this.unnamed.set(id, before.get(id) ?? nowMs);
    }
    const stays = (replica: ReplicaName): boolean => replicas.some(({ name }) => name === replica);
    this.live = this.live.filter((request) => request.node !== node || stays(request.replica));
  }

  forgetUnnamed(node: NodeId): void {
    for (const id of this.unnamed.keys()) if (id.startsWith(`${node}/`)) this.unnamed.delete(id);
  }

  isSomeUnnamed(nowMs: number): boolean {
    return [...this.unnamed].some(
      ([id, sinceMs]) =>
        nowMs - sinceMs <= unnamedLoadMsMax && !this.unleased.has(id.split('/')[0] as NodeId),
    );
  }

  leave(node: NodeId): void {
    this.forgetUnnamed(node);
    this.nodes.delete(node);
    this.live = this.live.filter((request) => request.node !== node);
  }

  /** The replicas that may serve a model now and have the least to do. */
  best(model: string): string[] {
    const able = [...this.nodes].flatMap(([id, { reports: replicas }]) =>
      replicas
        .filter(({ state, models }) => state === 'ready' && models.some((card) => card.id === model))
        .filter(() => !this.unleased.has(id))
        .map(({ name }) => ({ id: `${id}/${name}`, load: this.loadOf(id, name) })),
    );
    const least = Math.min(...able.map(({ load }) => load));
    return able.filter(({ load }) => load === least).map(({ id }) => id);
  }
}

const run = (operations: readonly Operation[]): void => {
  const directory = leastLoadedDirectory();
  const model = new Model();
  const decisions: Decision[] = [];
  const newest = new Map<NodeId, number>();
  let nowMs = 0;
  const isLeased = (id: NodeId): boolean => !model.unleased.has(id);
  const epochOf = (id: NodeId, step: number): number => Math.max(1, (newest.get(id) ?? 1) + step);

  const apply = (next: Operation): void => {
    if (next.kind === 'join') {
      const epoch = epochOf(next.node, next.epochStep);
      const isOlder = epoch < (model.nodes.get(next.node)?.epoch ?? 0);
      const error = errorOf(() => directory.join(next.node, epoch as Epoch, 'host', next.reports, nowMs));
      expect(error?.code).toBe(isOlder ? 'superseded' : undefined);
      if (!isOlder) model.join(next.node, epoch, next.reports, nowMs);
      newest.set(next.node, Math.max(epoch, newest.get(next.node) ?? 0));
    } else if (next.kind === 'report' || next.kind === 'leave') {
      const epoch = epochOf(next.node, next.epochStep);
      const isCurrent = model.nodes.get(next.node)?.epoch === epoch;
      if (next.kind === 'report') {
        directory.report(next.node, epoch as Epoch, next.reports, nowMs);
        if (isCurrent) model.report(next.node, next.reports, nowMs);
      } else {
        directory.leave(next.node, epoch as Epoch, nowMs);
        if (isCurrent) model.leave(next.node);
      }
    } else if (next.kind === 'lease') {
      if (next.leased) model.unleased.delete(next.node);
      else model.unleased.add(next.node);
    } else if (next.kind === 'decide') {
      const best = model.best(next.model);
      const error = errorOf(() => {
        const decision = directory.decide({
          ...{
            model: next.model,
            prompt: unreadPrompt,
            isStream: true,
            nowMs,
            isLeased,
            random: () => next.random,
            seatsPerReplica: streamsPerLinkMax,
          },
        });
        expect(best).toContain(`${decision.node}/${decision.replica}`);
        expect(decision.epoch).toBe(model.nodes.get(decision.node)?.epoch);
        expect(decisions.map(({ reservation }) => reservation)).not.toContain(decision.reservation);
        decisions.push(decision);
        model.live.push({ decision, node: decision.node, replica: decision.replica });
      });
      if (best.length > 0) expect(error).toBeUndefined();
      else expect(['no_nodes', 'model_not_found', 'no_capacity']).toContain(error?.code);
      if (error?.code === 'no_nodes') expect(model.nodes.size).toBe(0);
      if (next.model === 'unknown' && model.nodes.size > 0) {
        expect(error?.code).toBe(model.isSomeUnnamed(nowMs) ? 'no_capacity' : 'model_not_found');
      }
    } else if (next.kind === 'release') {
      const decision = decisions[next.which % Math.max(1, decisions.length)];
      if (decision === undefined) return;
      directory.settle(decision.reservation, { nowMs });
      model.live = model.live.filter((request) => request.decision !== decision);
    } else {
      nowMs += next.forwardMs;
    }
  };

  for (const next of operations) {
    apply(next);
    const views = directory.nodes(0);
    expect(new Set(views.map((view) => view.node))).toEqual(new Set(model.nodes.keys()));
    for (const view of views) {
      for (const { name, live } of view.replicas) expect(live).toBe(model.loadOf(view.node, name));
      expect(view.live).toBe(model.live.filter((request) => request.node === view.node).length);
    }
    expect(directory.isReady({ nowMs: 0, isLeased })).toBe(
      modelNames.some((name) => model.best(name).length > 0) || hasIdle(model),
    );
  }
};

/** A ready replica that names no model makes a region ready, too. */
const hasIdle = (model: Model): boolean =>
  [...model.nodes].some(
    ([id, { reports: replicas }]) =>
      !model.unleased.has(id) && replicas.some(({ state }) => state === 'ready'),
  );

test('in every order of events loads are the live requests, and who can’t serve is never chosen', () => {
  fc.assert(fc.property(fc.array(operation, { maxLength: 60, size: 'max' }), run), { numRuns: 500 });
});
