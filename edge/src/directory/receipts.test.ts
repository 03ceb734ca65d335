import type { Epoch, NodeId, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { ReplicaState } from '@cognitora/protocol/link';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { unreadPrompt } from './decision.ts';
import { Directory } from './directory.ts';
import { keptBackShownMax, NoReplicaError } from './eligibility.ts';
import {
  type EarlierAttempt,
  noteOf,
  type PlacedReceipt,
  Receipts,
  receiptsMax,
  receiptsPerIdMax,
} from './receipts.ts';

const reportsOf = (states: readonly ReplicaState[]) => {
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  return states.map((state, index) => ({ name: `r${index}` as ReplicaName, state, models }));
};

const directoryOf = (replicas: number): Directory => {
  const directory = new Directory({ secret: 1, askSnapshot: () => 0 });
  directory.join('n' as NodeId, 1 as Epoch, 'host', reportsOf(Array(replicas).fill('ready')), 0);
  return directory;
};

const decisionOf = (directory: Directory, isLeased = () => true) =>
  directory.decide({
    ...{ model: 'm', prompt: { ...unreadPrompt, bytes: 4_000 }, isStream: true, nowMs: 0, isLeased },
    random: () => 0.5,
  });

const decision = (replicas = 3) => decisionOf(directoryOf(replicas));

const refusalOf = (directory: Directory, isLeased = () => true): NoReplicaError => {
  const error = errorOf(() => decisionOf(directory, isLeased));
  if (!(error instanceof NoReplicaError)) throw new Error('a replica was chosen');
  return error;
};

const about = (requestId: string, earlier: readonly EarlierAttempt[] = []) => ({
  ...{ requestId: requestId as RequestId, region: 'weur' as Region, model: 'm' },
  ...{ decidedAtMs: 5, promptBlocks: 2, blockTokens: 64, earlier, occasion: 'first' as const },
  queuedMs: 0,
});
const after = [{ region: 'weur' as Region, code: 'link_lost' as const }];

/** The only placed decision under this id. */
const placedOf = (receipts: Receipts, id: string): PlacedReceipt => {
  const [receipt, ...more] = receipts.of(id as RequestId);
  if (receipt?.outcome !== 'placed' || more.length > 0) throw new Error(`${id} was placed once`);
  return receipt;
};

test('a receipt names what was chosen, what was considered at which cost, and how it ended', () => {
  const receipts = new Receipts();
  const made = decision();
  receipts.decided(about('a'), made);
  const receipt = placedOf(receipts, 'a');
  expect(receipt).toMatchObject({
    node: 'n',
    replica: made.replica,
    policy: 'predicted-latency',
    candidates: 3,
  });
  expect(receipt.considered).toHaveLength(3);
  expect(receipt.considered[0]).toMatchObject({
    replica: made.replica,
    live: 0,
    cachedTokens: 0,
    trust: 'blind',
  });
  expect(receipt.ended).toBeUndefined();
  const record = { bodyBytes: 1, totalMs: 4 };
  const end = { record, verdict: 'worked', code: 'engine_broke_off', engineStatus: 400 } as const;
  receipts.ended(made.reservation, 9, { ...end, bodyBytes: 1 });
  receipts.ended(made.reservation, 10, {});
  expect(placedOf(receipts, 'a').ended).toEqual({
    atMs: 9,
    record: { bodyBytes: 1, totalMs: 4 },
    verdict: 'worked',
    code: 'engine_broke_off',
    engineStatus: 400,
  });
});

test('decisions that found a replica are counted by occasion', () => {
  const receipts = new Receipts();
  receipts.decided(about('a'), decision());
  receipts.decided({ ...about('a', after), occasion: 'continued' }, decision());
  const { code, exclusion } = refusalOf(directoryOf(1), () => false);
  receipts.refused(about('b'), { code, exclusion });
  expect(receipts.placed).toEqual({ first: 1, retried: 0, resumed: 0, continued: 1 });
});

test('two live requests under one id have a receipt each, and each its own end', () => {
  const receipts = new Receipts();
  const directory = directoryOf(1);
  const [first, second] = [decisionOf(directory), decisionOf(directory)];
  receipts.decided(about('same'), first);
  receipts.decided(about('same'), second);
  receipts.ended(first.reservation, 9, { record: { bodyBytes: 1, totalMs: 4 }, verdict: 'worked' });
  const [newest, older] = receipts.of('same' as RequestId);
  expect(older).toMatchObject({ ended: { record: { totalMs: 4 } } });
  expect(newest).not.toHaveProperty('ended');
  receipts.ended(second.reservation, 12, { record: { bodyBytes: 1, totalMs: 7 }, verdict: 'worked' });
  expect(receipts.of('same' as RequestId)[0]).toMatchObject({ ended: { record: { totalMs: 7 } } });
});

test('a candidate is there in all terms that costs are made of', () => {
  const directory = directoryOf(1);
  const gpus = [{ gpu: 0, watts: 300 }];
  const replicas = [{ name: 'r0' as ReplicaName, gpus: [0] }];
  directory.measured('n' as NodeId, 1 as Epoch, { rttMs: 0, replicas, gpus }, 0);
  const { reservation } = decisionOf(directory);
  decisionOf(directory);
  directory.firstByte(reservation, 0);
  const [candidate] = decisionOf(directory).considered;
  expect(candidate).toMatchObject({ live: 2, decoding: 1, decodingTokens: 1_000, waitingTokens: 1_000 });
  expect(candidate).toMatchObject({ watts: 300 });
});

test('of many candidates the cheapest are shown', () => {
  const { considered, candidates } = decision(40);
  expect(candidates).toBe(40);
  expect(considered).toHaveLength(8);
});

test('the latest decisions are kept, and of those under one id the newest shown', () => {
  const receipts = new Receipts();
  const made = decision();
  for (let index = 0; index <= receiptsMax; index += 1) receipts.decided(about(`r${index}`), made);
  const known = (id: string): number => receipts.of(id as RequestId).length;
  expect([known('r0'), known('r1'), known(`r${receiptsMax}`)]).toEqual([0, 1, 1]);
  for (let decidedAtMs = 0; decidedAtMs <= receiptsPerIdMax; decidedAtMs += 1) {
    receipts.decided({ ...about('many'), decidedAtMs }, made);
  }
  const many = receipts.of('many' as RequestId).map(({ decidedAtMs }) => decidedAtMs);
  expect([many.length, many[0]]).toEqual([receiptsPerIdMax, receiptsPerIdMax]);
});

test('a refusal names each replica and what kept it, and where the request had been before', () => {
  const receipts = new Receipts();
  const directory = directoryOf(2);
  const states = ['loading', 'draining', 'ready', 'ready'] as const;
  directory.report('n' as NodeId, 1 as Epoch, reportsOf(states), 0);
  const error = refusalOf(directory, () => false);
  expect(error.code).toBe('no_capacity');
  expect(error.route).toBe('replicas=4; loading=1; draining=1; unleased=2');
  receipts.refused(about('a', after), error);
  expect(receipts.of('a' as RequestId)).toMatchObject([
    {
      ...{ outcome: 'refused', code: 'no_capacity', earlier: after, replicas: 4 },
      reasons: { loading: 1, draining: 1, unleased: 2 },
      keptBack: ['loading', 'draining', 'unleased', 'unleased'].map((why, index) => ({
        ...{ node: 'n', replica: `r${index}`, why },
      })),
    },
  ]);
});

test('of very many who are kept back all are counted and some are named', () => {
  const directory = directoryOf(0);
  directory.report('n' as NodeId, 1 as Epoch, reportsOf(Array(50).fill('loading')), 0);
  const { exclusion } = refusalOf(directory);
  expect([exclusion.replicas, exclusion.keptBack.length]).toEqual([50, keptBackShownMax]);
});

test('whoever loads and has not said what is named too', () => {
  const directory = new Directory({ secret: 1, askSnapshot: () => 0 });
  const loading = { name: 'r0' as ReplicaName, state: 'loading' as const, models: [] };
  directory.join('n' as NodeId, 1 as Epoch, 'host', [loading], 0);
  expect(refusalOf(directory)).toMatchObject({
    route: 'replicas=1; unnamed=1',
    exclusion: { keptBack: [{ node: 'n', replica: 'r0', why: 'unnamed' }] },
  });
});

test('a receipt and its header count who was left out as failing, and say whether the chosen one is tried', () => {
  const directory = directoryOf(2);
  const made = Array.from({ length: 8 }, () => decisionOf(directory));
  for (const { reservation, replica } of made) {
    directory.settle(reservation, { nowMs: 0, verdict: replica === 'r0' ? 'failed' : 'worked' });
  }
  const next = decisionOf(directory);
  expect(next).toMatchObject({ failing: 1, isTrial: false, candidates: 1 });
  expect(noteOf(next, []).route).toMatch(/; candidates=1; failing=1$/);
});

test('headers tell the prediction, its trust, who decided, and which regions failed before', () => {
  expect(noteOf(decision(), [])).toEqual({
    cache: 'predicted=0; prompt=1000; trust=blind',
    route: expect.stringMatching(/^replica=r\d; policy=predicted-latency; candidates=3$/),
  });
  expect(noteOf({ ...decision(), promptTokens: undefined }, []).cache).toBe('predicted=0; trust=blind');
  expect(noteOf(decision(), after).route).toMatch(/; candidates=3; after=weur:link_lost$/);
});
