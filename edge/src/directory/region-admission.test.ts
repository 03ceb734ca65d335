/** A region lets requests in by seats, limits and a retry budget, and its receipts say what became of each. */
import type { Epoch, NodeId, Region as RegionName, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import { retriesAtOnceMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test, vi } from 'vitest';
import { envOf } from '../../testing/env.ts';
import { ObjectState } from '../../testing/object-state.ts';
import { helloOf } from '../../testing/scripted-agent.ts';
import { TestDatabase } from '../../testing/sql.ts';
import { decideHeader } from '../link/carry-request.ts';
import { unwrap } from '../outcome.ts';
import type { Asked } from './asked.ts';
import { unreadPrompt } from './decision.ts';
import { Region } from './region.ts';

vi.mock('cloudflare:workers', () => import('../../testing/cloudflare-workers.ts'));

const local = 'local' as RegionName;
const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];

/** With nodes of one replica each, all of which are vouched for. */
const regionOf = (...names: string[]): Region => {
  const state = Object.assign(new ObjectState(), { storage: { sql: new TestDatabase().sql } });
  const region = new Region(state.state, envOf({ REGIONS: 'local', LAYOUT: 'object-per-node' }));
  for (const name of names) {
    const replicas = [{ name: 'r0' as ReplicaName, state: 'ready' as const, models }];
    region.joined(name as NodeId, 1 as Epoch, helloOf({ replicas }), local);
  }
  return region;
};

const askedOf = (requestId: string, more: Partial<Asked> = {}): Asked => ({
  ...{ requestId: requestId as RequestId, region: local, model: 'm', prompt: unreadPrompt, isStream: true },
  ...{ earlier: [], occasion: 'first' as const, awaitsNodes: true, remainingMs: 60_000 },
  demand: { tenant: 't', priority: 5, tokens: 100, answerTokens: 0 },
  ...more,
});

const failedOn = (node: string): Asked['earlier'] => [
  { region: local, code: 'link_lost', node: node as NodeId, replica: 'r0' as ReplicaName },
];

test('a request waits until another one ends, and its answer and its receipt say how long', async () => {
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  const { reservation } = unwrap(await region.decide(askedOf('first')));
  const waits = region.decide(askedOf('second'));
  expect(region.admission().models).toMatchObject([{ model: 'm', waiting: 1, live: 1 }]);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 40 });
  region.settled([], [{ reservation, record: undefined }]);
  vi.useRealTimers();
  const { route } = unwrap(await waits).receipt;
  const queued = Number(/; queued=(\d+)/.exec(route)?.[1]);
  expect(queued).toBeGreaterThanOrEqual(40);
  expect(region.receipts('second' as RequestId)).toMatchObject([{ outcome: 'placed', queuedMs: queued }]);
});

test('a node that leaves, and one that comes, change who waits', async () => {
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  await region.decide(askedOf('first'));
  const waits = region.decide(askedOf('second'));
  region.left('a' as NodeId, 1 as Epoch);
  expect(region.admission().models).toMatchObject([{ waiting: 1, live: 0 }]);
  const replicas = [{ name: 'r0' as ReplicaName, state: 'ready' as const, models }];
  region.joined('b' as NodeId, 1 as Epoch, helloOf({ replicas }), local);
  expect(unwrap(await waits).node).toBe('b');
});

test('a cordon lets nobody in, its end does', async () => {
  const region = regionOf('a', 'b');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  region.cordon('a' as NodeId);
  await region.decide(askedOf('first'));
  const waits = region.decide(askedOf('second'));
  expect(region.admission().models).toMatchObject([{ waiting: 1 }]);
  region.uncordon('a' as NodeId);
  expect(unwrap(await waits).node).toBe('a');
});

test('who is refused is told when to come again, and its receipt says why', async () => {
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1, queueMax: 0 }));
  await region.decide(askedOf('first'));
  const refused = await region.decide(askedOf('second'));
  expect(refused).toMatchObject({ refused: { code: 'overloaded', retryAfterSeconds: 5 } });
  expect(region.receipts('second' as RequestId)).toMatchObject([
    {
      ...{ outcome: 'refused', code: 'overloaded', replicas: 1, reasons: { busy: 1 } },
      admission: { reason: 'queue_full', limits: { queueMax: 0 } },
    },
  ]);
});

test('who leaves while it waits is booked nowhere, and so is who left in the turn it was let in', async () => {
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  const { reservation } = unwrap(await region.decide(askedOf('first')));
  const [leaves, left] = [new AbortController(), new AbortController()];
  const waits = [
    region.decide(askedOf('second'), leaves.signal),
    region.decide(askedOf('third'), left.signal),
  ];
  leaves.abort();
  region.settled([], [{ reservation, record: undefined }]);
  left.abort();
  for (const outcome of await Promise.all(waits)) {
    expect(outcome).toMatchObject({ refused: { code: 'client_gone' } });
  }
  expect(region.admission().models).toMatchObject([{ waiting: 0, live: 0 }]);
  expect(region.status().nodes[0]?.live).toBe(0);
});

test('retries are a share of what began, and go to whom they did not try', async () => {
  const region = regionOf('a', 'b');
  for (let retry = 0; retry < retriesAtOnceMax; retry += 1) {
    const booked = unwrap(await region.decide(askedOf('again', { earlier: failedOn('a') })));
    expect(booked.node).toBe('b');
    region.settled([], [{ reservation: booked.reservation, record: undefined }]);
  }
  const spent = await region.decide(askedOf('again', { earlier: failedOn('a') }));
  expect(spent).toMatchObject({ refused: { code: 'retry_budget_spent' } });
  const continued = askedOf('again', { earlier: failedOn('a'), occasion: 'continued' });
  expect(await region.decide(continued)).toHaveProperty('value');
  const refusedElsewhere = [{ region: 'weur' as RegionName, code: 'no_capacity' as const }];
  for (const earlier of [[], [], [], refusedElsewhere, refusedElsewhere]) {
    unwrap(await region.decide(askedOf('first', { earlier })));
  }
  expect(await region.decide(askedOf('again', { earlier: failedOn('a') }))).toHaveProperty('value');
  expect(region.admission().retries).toEqual({ left: 0, refused: 1 });
});

test('neither what is refused nor what a replica of another region had before pays for retries', async () => {
  const region = regionOf('a', 'b');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 2 * retriesAtOnceMax }));
  for (let retry = 0; retry < retriesAtOnceMax; retry += 1) {
    unwrap(await region.decide(askedOf('again', { earlier: failedOn('a') })));
  }
  const elsewhere = failedOn('c').map((attempt) => ({ ...attempt, region: 'weur' as RegionName }));
  for (let count = 0; count < 10; count += 1) {
    expect(await region.decide(askedOf('other', { earlier: elsewhere }))).toHaveProperty('value');
    expect(await region.decide(askedOf('unknown', { model: 'n' }))).toHaveProperty('refused');
  }
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1, queueMax: 0 }));
  for (let count = 0; count < 10; count += 1) {
    expect(await region.decide(askedOf('flood'))).toMatchObject({ refused: { code: 'overloaded' } });
  }
  expect(region.admission().retries).toEqual({ left: 0, refused: 0 });
});

test('who would have its first token behind the objective is refused where it is decided, a retry is not', async () => {
  const region = regionOf('a', 'b');
  unwrap(region.limit('models', 'm', { firstTokenMs: 1 }));
  const long = { prompt: { ...unreadPrompt, bytes: 20_000 } };
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  for (let prefill = 0; prefill < 8; prefill += 1) {
    const { reservation } = unwrap(await region.decide(askedOf('earlier', long)));
    vi.setSystemTime(Date.now() + 750);
    region.settled([reservation], [{ reservation, record: undefined }]);
  }
  for (const idle of ['first', 'second']) unwrap(await region.decide(askedOf(idle, long)));
  expect(await region.decide(askedOf('third', long))).toMatchObject({ refused: { code: 'overloaded' } });
  const again = askedOf('again', { ...long, earlier: failedOn('a') });
  expect(unwrap(await region.decide(again)).node).toBe('b');
});

test('a tenant whose request took more than was expected of it goes behind another one', async () => {
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  const { reservation } = unwrap(await region.decide(askedOf('first')));
  const own = region.decide(askedOf('own'));
  const demand = { tenant: 'other', priority: 5, tokens: 100, answerTokens: 0 };
  const others = region.decide(askedOf('others', { demand }));
  const usage = { promptTokens: 50, completionTokens: 10_000 };
  region.settled([], [{ reservation, record: { bodyBytes: 1, totalMs: 1, usage } }]);
  expect(await Promise.race([own.then(() => 'own'), others.then(() => 'others')])).toBe('others');
});

test.each([
  ['by its bytes', true, { bodyBytes: 100_000 }],
  ['by its time, where it has none', false, { code: 'client_gone' as const }],
])('so does one that hung up: its answer is charged %s', async (_, hasBegun, end) => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_800_000_000_000 });
  onTestFinished(() => void vi.useRealTimers());
  const region = regionOf('a');
  unwrap(region.limit('models', 'm', { seatsPerReplica: 1 }));
  const taught = unwrap(await region.decide(askedOf('taught')));
  vi.setSystemTime(Date.now() + 1_000);
  const usage = { promptTokens: 50, completionTokens: 100 };
  const record = { bodyBytes: 2_000, totalMs: 1_000, usage };
  region.settled([], [{ reservation: taught.reservation, record }]);
  const before = unwrap(await region.decide(askedOf('before')));
  const own = [1, 2].map((at) => region.decide(askedOf(`own ${at}`)));
  region.settled([], [{ reservation: before.reservation, record: undefined }]);
  const { reservation } = unwrap(await (own[0] as (typeof own)[number]));
  const demand = { tenant: 'other', priority: 5, tokens: 100, answerTokens: 0 };
  const others = region.decide(askedOf('others', { demand }));
  vi.setSystemTime(Date.now() + 5_000);
  region.settled(hasBegun ? [reservation] : [], [{ reservation, record: undefined, ...end }]);
  expect(await Promise.race([own[1]?.then(() => 'own'), others.then(() => 'others')])).toBe('others');
});

test('what a first token takes is learned from first bytes', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_800_000_000_000 });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const region = regionOf('a');
  const { reservation } = unwrap(await region.decide(askedOf('first')));
  vi.setSystemTime(1_800_000_000_200);
  region.settled([reservation], []);
  // The one that was seen, and twice the half of it that others may stray.
  expect(region.admission().models).toMatchObject([{ model: 'm', firstTokenMs: 400 }]);
});

test('a decision can be asked for by a fetch, whose end takes it back', async () => {
  const region = regionOf('a');
  const { prompt: _, ...asked } = askedOf('first');
  const headers = {
    [decideHeader]: JSON.stringify({ ...asked, prompt: { ...unreadPrompt, chain: undefined } }),
  };
  const answer = await region.fetch(new Request('https://object/decide', { headers }));
  expect(await answer.json()).toMatchObject({ value: { node: 'a', replica: 'r0' } });
});
