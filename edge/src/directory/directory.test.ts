import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import {
  modelMemoryMsMax,
  modelsRememberedMax,
  streamsPerLinkMax,
  unnamedLoadMsMax,
} from '@cognitora/protocol/limits';
import type { ReplicaReport, ReplicaState } from '@cognitora/protocol/link';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { leastLoadedDirectory } from '../../testing/directories.ts';
import { unreadPrompt } from './decision.ts';
import type { Directory } from './directory.ts';
import type { Reservation } from './load.ts';

const node = (name: string): NodeId => name as NodeId;
const epoch = (number: number): Epoch => number as Epoch;

const replica = (name: string, models: readonly string[], state: ReplicaState = 'ready'): ReplicaReport => ({
  name: name as ReplicaName,
  state,
  models: models.map((id) => ({ id, createdSeconds: 1, ownedBy: 'x' })),
});

const decide = (
  directory: Directory,
  model = 'm',
  { random = 0, leased = true, nowMs = 0 }: { random?: number; leased?: boolean; nowMs?: number } = {},
) =>
  directory.decide({
    model,
    prompt: unreadPrompt,
    isStream: true,
    nowMs,
    isLeased: () => leased,
    random: () => random,
    seatsPerReplica: streamsPerLinkMax,
  });

const codeOf = (run: () => unknown): string | undefined => errorOf(run)?.code;

/** Live requests by `node/replica`. */
const loads = (directory: Directory): Record<string, number> =>
  Object.fromEntries(
    directory
      .nodes(0)
      .flatMap((entry) => entry.replicas.map(({ name, live }) => [`${entry.node}/${name}`, live])),
  );

const with2 = (): Directory => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'])], 0);
  directory.join(node('b'), epoch(1), 'b', [replica('r0', ['m'])], 0);
  return directory;
};

test('who asks for a model that only parts of requests are done of is told so, and told what it needs', () => {
  const directory = leastLoadedDirectory();
  const prefill = { ...replica('r0', ['m']), role: 'prefill' } as const;
  const decode = { ...replica('r1', ['m']), role: 'decode' } as const;
  const message = (): string | undefined => errorOf(() => decide(directory))?.message;
  directory.join(node('a'), epoch(1), 'a', [prefill, decode], 0);
  expect(message()).toBe(
    '"m" is served by replicas of the role prefill and decode alone, which take no requests by themselves. ' +
      'It needs a replica of the role both.',
  );
  expect(codeOf(() => decide(directory))).toBe('no_capacity');
  directory.report(node('a'), epoch(1), [decode], 0);
  expect(message()).toContain('of the role decode alone');
  directory.report(node('a'), epoch(1), [decode, replica('r2', ['m'], 'loading')], 0);
  expect(message()).toMatch(/^No replica can serve "m" now/);
});

test('of one that failed it is known why, until it is well again', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [{ ...replica('r0', ['m'], 'failed'), why: 'given up' }], 0);
  const why = () => directory.nodes(0)[0]?.replicas[0]?.why;
  expect(why()).toBe('given up');
  directory.report(node('a'), epoch(1), [replica('r0', ['m'])], 0);
  expect(why()).toBeUndefined();
});

test('100 requests at once over two equal replicas are split 50/50, whatever the ties', () => {
  for (const random of [0, 0.5, 0.999]) {
    const directory = with2();
    for (let count = 0; count < 100; count += 1) decide(directory, 'm', { random });
    expect(loads(directory)).toEqual({ 'a/r0': 50, 'b/r0': 50 });
  }
});

test('ties are broken by the random number, so that an idle fleet has no favourite', () => {
  const chosen = [0, 0.49, 0.5, 0.99].map((random) => decide(with2(), 'm', { random }).node);
  expect(chosen).toEqual(['a', 'a', 'b', 'b']);
});

test('a decision says how long the prompt is only if somebody read it', () => {
  const directory = with2();
  expect(decide(directory).promptTokens).toBeUndefined();
  const prompt = { ...unreadPrompt, bytes: 400 };
  const read = directory.decide({
    ...{ model: 'm', prompt, isStream: true, nowMs: 0, isLeased: () => true, random: () => 0 },
  });
  expect(read.promptTokens).toBe(100);
});

test('a decision names the epoch and the replica it was made for', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(9), 'a', [replica('r0', ['other']), replica('r1', ['m'])], 0);
  expect(decide(directory)).toMatchObject({ node: 'a', epoch: 9, replica: 'r1' });
});

test('a newer epoch replaces the older one and what it served', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'])], 0);
  const { reservation } = decide(directory);
  directory.join(node('a'), epoch(2), 'a', [replica('r0', ['m'])], 0);
  expect(loads(directory)).toEqual({ 'a/r0': 0 });
  directory.settle(reservation, { nowMs: 0 });
  expect(loads(directory)).toEqual({ 'a/r0': 0 });
  expect(decide(directory).epoch).toBe(2);
});

test('an older epoch is refused, and what it still says changes nothing', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(2), 'a', [replica('r0', ['m'])], 0);
  expect(codeOf(() => directory.join(node('a'), epoch(1), 'a', [], 0))).toBe('superseded');
  directory.report(node('a'), epoch(1), [], 0);
  directory.leave(node('a'), epoch(1), 0);
  expect(decide(directory).epoch).toBe(2);
});

test('a report replaces the node’s replicas and keeps the load of those that stay', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m']), replica('r1', ['n'])], 0);
  decide(directory, 'm');
  const { reservation } = decide(directory, 'n');
  directory.report(node('a'), epoch(1), [replica('r0', ['p'])], 0);
  expect(loads(directory)).toEqual({ 'a/r0': 1 });
  for (const gone of ['m', 'n']) expect(codeOf(() => decide(directory, gone))).toBe('no_capacity');
  expect(decide(directory, 'p').replica).toBe('r0');
  directory.settle(reservation, { nowMs: 0 });
  expect(loads(directory)).toEqual({ 'a/r0': 2 });
});

test.each(['loading', 'draining', 'failed'] as const)('a %s replica is no_capacity', (state) => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'], state)], 0);
  expect(codeOf(() => decide(directory))).toBe('no_capacity');
  expect(directory.isReady({ nowMs: 0, isLeased: () => true })).toBe(false);
});

test('a node without a lease is no_capacity, also hours after it joined', () => {
  const directory = with2();
  expect(codeOf(() => decide(directory, 'm', { leased: false }))).toBe('no_capacity');
  expect(codeOf(() => decide(directory, 'm', { leased: false, nowMs: modelMemoryMsMax * 3 }))).toBe(
    'no_capacity',
  );
});

test('a node whose link carries as many streams as it may is no_capacity until one ends', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m']), replica('r1', ['n'])], 0);
  const { reservation } = decide(directory, 'n');
  for (let count = 1; count < streamsPerLinkMax; count += 1) decide(directory);
  expect(codeOf(() => decide(directory))).toBe('no_capacity');
  expect(codeOf(() => decide(directory, 'n'))).toBe('no_capacity');
  directory.settle(reservation, { nowMs: 0 });
  expect(decide(directory).replica).toBe('r0');
});

test('without any node it is no_nodes; with nodes that never served it, model_not_found', () => {
  const directory = leastLoadedDirectory();
  expect(codeOf(() => decide(directory))).toBe('no_nodes');
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'])], 0);
  const error = errorOf(() => decide(directory, 'other'));
  expect(error?.code).toBe('model_not_found');
  expect(error?.param).toBe('model');
});

test('while a replica loads and has not said what, an unknown model is no_capacity, for unnamedLoadMsMax', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'])], 0);
  directory.join(node('b'), epoch(1), 'b', [replica('r0', [], 'loading')], 1000);
  const at = (nowMs: number, leased = true) => errorOf(() => decide(directory, 'unknown', { nowMs, leased }));
  expect(at(1000)).toMatchObject({ code: 'no_capacity', retryAfterSeconds: 5 });
  expect(at(1000, false)?.code).toBe('model_not_found');
  // Saying the same again does not begin anew; a new link does.
  directory.report(node('b'), epoch(1), [replica('r0', [], 'loading')], 2000);
  expect(at(1000 + unnamedLoadMsMax)?.code).toBe('no_capacity');
  expect(at(1001 + unnamedLoadMsMax)?.code).toBe('model_not_found');
  directory.join(node('b'), epoch(2), 'b', [replica('r0', [], 'loading')], 3000);
  expect(at(1001 + unnamedLoadMsMax)?.code).toBe('no_capacity');
});

test('a replica whose engine does not listen yet is waited for like one that loads', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', [], 'failed')], 0);
  directory.report(node('a'), epoch(1), [replica('r0', [], 'loading')], 1000);
  const at = (nowMs: number) => codeOf(() => decide(directory, 'unknown', { nowMs }));
  expect(at(unnamedLoadMsMax)).toBe('no_capacity');
  expect(at(unnamedLoadMsMax + 1)).toBe('model_not_found');
});

test.each([
  ['has named its models', replica('r0', ['other'], 'loading')],
  ['is ready without a model', replica('r0', [], 'ready')],
  ['has failed', replica('r0', ['other'], 'failed')],
])('a replica that %s makes no secret of its model: an unknown one is model_not_found', (_, later) => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', [], 'loading')], 0);
  expect(codeOf(() => decide(directory))).toBe('no_capacity');
  directory.report(node('a'), epoch(1), [later], 1);
  expect(codeOf(() => decide(directory))).toBe('model_not_found');
  directory.report(node('a'), epoch(1), [replica('r0', [], 'loading')], 2);
  expect(codeOf(() => decide(directory))).toBe('no_capacity');
  directory.report(node('a'), epoch(1), [], 3);
  expect(codeOf(() => decide(directory))).toBe('model_not_found');
});

test('a model whose last replica left is no_capacity for modelMemoryMsMax, then as if never heard of', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['m'])], 0);
  directory.leave(node('a'), epoch(1), 1000);
  const at = (nowMs: number) => errorOf(() => decide(directory, 'm', { nowMs }));
  expect(at(1000 + modelMemoryMsMax)?.code).toBe('no_capacity');
  expect(at(1000 + modelMemoryMsMax)?.retryAfterSeconds).toBeGreaterThan(0);
  expect(at(1001 + modelMemoryMsMax)?.code).toBe('no_nodes');
  directory.join(node('b'), epoch(1), 'b', [], 0);
  expect(at(1001 + modelMemoryMsMax)?.code).toBe('model_not_found');
});

test('at most modelsRememberedMax models are remembered: the one seen longest ago is forgotten first', () => {
  const directory = leastLoadedDirectory();
  const names = Array.from({ length: modelsRememberedMax }, (_, index) => `m${index}`);
  directory.join(node('a'), epoch(1), 'a', [replica('r0', names)], 0);
  directory.leave(node('a'), epoch(1), 0);
  directory.join(node('b'), epoch(1), 'b', [replica('r0', ['m0', 'new'])], 0);
  directory.leave(node('b'), epoch(1), 0);
  directory.join(node('c'), epoch(1), 'c', [], 0);
  expect(codeOf(() => decide(directory, 'm1'))).toBe('model_not_found');
  for (const kept of ['m0', 'm2', 'new']) expect(codeOf(() => decide(directory, kept))).toBe('no_capacity');
});

test('models are those of leased nodes that have not failed, each once, in order', () => {
  const directory = leastLoadedDirectory();
  directory.join(node('a'), epoch(1), 'a', [replica('r0', ['z', 'b']), replica('r1', ['x'], 'failed')], 0);
  directory.join(node('b'), epoch(1), 'b', [replica('r0', ['b', 'a'], 'loading')], 0);
  expect(directory.models(() => true).map(({ id }) => id)).toEqual(['a', 'b', 'z']);
  expect(directory.models((id) => id === 'b').map(({ id }) => id)).toEqual(['a', 'b']);
  expect(directory.isReady({ nowMs: 0, isLeased: (id) => id === 'b' })).toBe(false);
  expect(directory.isReady({ nowMs: 0, isLeased: () => true })).toBe(true);
});

test('releasing what was never booked means nothing', () => {
  const directory = with2();
  decide(directory);
  directory.settle(99 as Reservation, { nowMs: 0 });
  expect(Object.values(loads(directory))).toEqual([1, 0]);
});

test('what the directory refuses is an error of the table', () => {
  expect(() => decide(leastLoadedDirectory())).toThrow(CognitoraError);
});
