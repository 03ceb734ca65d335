import type { Epoch, NodeId, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { Directory, unreadPrompt } from './directory.ts';
import { noteOf, Receipts, receiptsMax } from './receipts.ts';

const decision = (replicas = 3) => {
  const directory = new Directory({ secret: 1, askSnapshot: () => 0 });
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const reports = Array.from({ length: replicas }, (_, index) => ({
    ...{ name: `r${index}` as ReplicaName, state: 'ready' as const, models },
  }));
  directory.join('n' as NodeId, 1 as Epoch, 'host', reports, 0);
  const prompt = { ...unreadPrompt, bytes: 4_000 };
  return directory.decide({
    model: 'm',
    prompt,
    isStream: true,
    nowMs: 0,
    isLeased: () => true,
    random: () => 0.5,
  });
};

const about = (requestId: string) => ({
  ...{
    requestId: requestId as RequestId,
    region: 'weur' as Region,
    model: 'm',
    decidedAtMs: 5,
    promptBlocks: 2,
  },
});

test('a receipt names what was chosen, what was considered at which cost, and how it ended', () => {
  const receipts = new Receipts();
  const made = decision();
  receipts.decided(about('a'), made);
  const receipt = receipts.get('a' as RequestId);
  expect(receipt).toMatchObject({
    node: 'n',
    replica: made.replica,
    policy: 'predicted-latency',
    candidates: 3,
  });
  expect(receipt?.considered).toHaveLength(3);
  expect(receipt?.considered[0]).toMatchObject({
    replica: made.replica,
    live: 0,
    cachedTokens: 0,
    trust: 'blind',
  });
  expect(receipt?.ended).toBeUndefined();
  receipts.ended('a' as RequestId, 9, { bodyBytes: 1, totalMs: 4 });
  expect(receipts.get('a' as RequestId)?.ended).toEqual({ atMs: 9, record: { bodyBytes: 1, totalMs: 4 } });
});

test('of many candidates the cheapest are shown', () => {
  const { considered, candidates } = decision(40);
  expect(candidates).toBe(40);
  expect(considered).toHaveLength(8);
});

test('the latest requests are kept, and an id that is used again stands for its latest', () => {
  const receipts = new Receipts();
  const made = decision();
  for (let index = 0; index <= receiptsMax; index += 1) receipts.decided(about(`r${index}`), made);
  expect(receipts.get('r0' as RequestId)).toBeUndefined();
  receipts.decided(about('r1'), made);
  receipts.decided(about('new'), made);
  expect(receipts.get('r1' as RequestId)).toBeDefined();
  expect(receipts.get('r2' as RequestId)).toBeUndefined();
});

test('headers tell the prediction, its trust, and who decided', () => {
  expect(noteOf(decision())).toEqual({
    cache: 'predicted=0; prompt=1000; trust=blind',
    route: expect.stringMatching(/^replica=r\d; policy=predicted-latency; candidates=3$/),
  });
});
