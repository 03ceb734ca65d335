import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { Truth } from './truth.ts';
import { TruthMemory, truthMemoryMsMax, truthsRememberedMax } from './truth-memory.ts';

const node = 'n' as NodeId;
const [r0, r1] = ['r0', 'r1'] as ReplicaName[] as [ReplicaName, ReplicaName];

const liar = (requests = 64): Truth => {
  const truth = new Truth();
  for (let done = 0; done < requests; done += 1) truth.compare(1_000, 0);
  return truth;
};

test('a replica that comes back is judged on where it left, once', () => {
  const memory = new TruthMemory();
  const before = liar(15);
  memory.keep(node, 'm', r0, before, 0);
  const after = memory.of(node, 'm', r0, [], 10);
  expect(after).toBe(before);
  after.compare(1_000, 0);
  expect(after.share).toBe(0);
  expect(memory.size).toBe(0);
});

test('another name does not clear it; another node, or another model, is another matter', () => {
  const memory = new TruthMemory();
  memory.keep(node, 'm', r0, liar(), 0);
  expect(memory.of(node, 'm', r1, [], 0).share).toBe(0);
  expect(memory.of(node, 'other', r0, [], 0).share).toBe(1);
  expect(memory.of('other' as NodeId, 'm', r0, [], 0).share).toBe(1);
  expect(memory.of(node, 'x', r1, [liar()], 0).share).toBe(0);
});

test('it is forgotten after a while, and what there is nothing to say of is not kept', () => {
  const memory = new TruthMemory();
  memory.keep(node, 'm', r1, new Truth(), 0);
  memory.keep(node, 'm', r0, liar(), 0);
  expect(memory.size).toBe(1);
  expect(memory.of(node, 'm', r1, [], truthMemoryMsMax).share).toBe(0);
  expect(memory.of(node, 'm', r0, [], truthMemoryMsMax + 1).share).toBe(1);
  expect(memory.size).toBe(0);
});

test('so many are remembered, those that left last', () => {
  const memory = new TruthMemory();
  for (let at = 0; at <= truthsRememberedMax; at += 1) {
    memory.keep(`n${at}` as NodeId, 'm', r0, liar(16), at);
  }
  expect(memory.size).toBe(truthsRememberedMax);
  expect(memory.of('n0' as NodeId, 'm', r0, [], 0).share).toBe(1);
  expect(memory.of('n1' as NodeId, 'm', r0, [], 0).share).toBe(0);
});
