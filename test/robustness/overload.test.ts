/** More requests than an engine has slots: who waits does so at the edge, in order, or is told when to come again. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SlotEngine, slotModel } from '../fakes/slot-engine.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, send } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { chatPath, openRequest } from './requests.ts';

const slots = 4;
/** An answer takes about 50 ms an event. */
const bodyOf = (events: number): string =>
  JSON.stringify({
    ...{ model: slotModel, stream: true, max_tokens: events },
    messages: [{ role: 'user', content: 'Hi.' }],
  });
const [short, long] = [4, 20];

describe.each(layouts)('forty requests on four slots, layout %s', (layout) => {
  const engine = new SlotEngine({ slots, prefillMs: 50, stepMs: 50 });
  const clients: { readonly big: string; readonly small: string } = { big: '', small: '' };
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  beforeAll(async () => {
    const { cluster } = fixture;
    await engine.start();
    const config = `[[engine]]\nname = "e0"\nprofile = "vllm"\nurl = "${engine.url}"\n`;
    await cluster.startAgent({ name: 'host', engines: [], config });
    for (const tenant of ['big', 'small'] as const) {
      const { key } = await cluster.createKey(['chat'], { tenant });
      Object.assign(clients, { [tenant]: key });
    }
  });

  const limit = (limits: object) => fixture.cluster.admin('PUT', `/admin/limits/models/${slotModel}`, limits);

  interface Kind {
    readonly id?: string;
    readonly tenant?: keyof typeof clients;
    readonly events?: number;
    readonly headers?: Readonly<Record<string, string>>;
  }
  const chat = async ({ id = freshId(), tenant = 'big', events = short, headers = {} }: Kind = {}) => {
    const answer = await send(fixture.cluster.url + chatPath, {
      body: bodyOf(events),
      headers: {
        ...{ authorization: `Bearer ${clients[tenant]}`, 'content-type': 'application/json' },
        ...{ 'x-request-id': id, ...headers },
      },
    });
    const { status, headers: told } = answer;
    return { status, code: String(told['x-cognitora-code'] ?? ''), retryAfter: Number(told['retry-after']) };
  };
  const waiting = async (): Promise<number> => {
    type Answer = { regions: readonly { models: readonly { model: string; waiting: number }[] }[] };
    const { regions } = await fixture.cluster.admin<Answer>('GET', '/admin/limits');
    return regions[0]?.models.find(({ model }) => model === slotModel)?.waiting ?? 0;
  };
  const fill = (count: number, kind: Kind = {}) => Array.from({ length: count }, () => chat(kind));
  /** Takes all slots until the engine is released. */
  const occupy = async () => {
    engine.hold();
    const answers = fill(slots, { events: long });
    await until('all slots to be taken', () => engine.running === slots);
    return answers;
  };

  test('who waits is served in order, who is beyond the bound is told when to come again', async () => {
    await limit({ seatsPerReplica: slots, queueMax: 20 });
    const running = await occupy();
    const ids = Array.from({ length: 20 }, () => freshId());
    const answers: Promise<{ readonly status: number }>[] = [];
    for (const [before, id] of ids.entries()) {
      answers.push(chat({ id }));
      await until('it to wait', async () => (await waiting()) === before + 1);
    }
    const refused = await Promise.all(fill(16));
    const toldAtMs = performance.now();
    for (const { status, code, retryAfter } of refused) {
      expect([status, code]).toEqual([503, 'overloaded']);
      expect(retryAfter).toBeGreaterThanOrEqual(1);
    }
    engine.release();
    // Who comes again when it was told to finds a place.
    const againMs = 1_000 * Math.max(...refused.map(({ retryAfter }) => retryAfter));
    await pause(againMs - (performance.now() - toldAtMs));
    const again = await Promise.all(fill(16));
    expect(again.map(({ status }) => status)).toEqual(again.map(() => 200));
    const all = await Promise.all([...running, ...answers]);
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200));
    expect(engine.begun.filter((id) => ids.includes(id))).toEqual(ids);
    expect(engine.waitingMax).toBe(0);
  });

  test('where nothing is set, an engine’s slots are learned: all are served, and few wait in the engine', async () => {
    await fixture.cluster.admin('DELETE', `/admin/limits/models/${slotModel}`);
    engine.waitingMax = 0;
    const all = await Promise.all(fill(40));
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200));
    expect(engine.waitingMax).toBeLessThanOrEqual(2 * slots);
    expect(engine.waitingMax).toBeGreaterThan(0);
  });

  test('a client that leaves the queue frees its place, and a higher priority goes first', async () => {
    await limit({ seatsPerReplica: slots, queueMax: 2 });
    const running = await occupy();
    const leaves = openRequest(
      { ...fixture.cluster, apiKey: clients.big } as never,
      freshId(),
      bodyOf(short),
    );
    await until('one to wait', async () => (await waiting()) === 1);
    const [low, high] = [freshId(), freshId()];
    const lowAnswer = chat({ id: low });
    await until('two to wait', async () => (await waiting()) === 2);
    expect((await chat()).status).toBe(503);
    // As SDKs and curl do: of that plain workerd hears from its supervisor.
    leaves.hangUp('close');
    await until('its place to be free', async () => (await waiting()) === 1);
    const highAnswer = chat({ id: high, headers: { 'x-cognitora-priority': '9' } });
    await until('two to wait again', async () => (await waiting()) === 2);
    engine.release();
    const all = await Promise.all([...running, lowAnswer, highAnswer]);
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200));
    expect(engine.begun.slice(-2)).toEqual([high, low]);
  });

  test('a small tenant is served beside one that floods, which is told that it is over its share', async () => {
    await limit({ seatsPerReplica: slots, queueMax: 20 });
    const running = await occupy();
    const flood = fill(20);
    await until('the queue to be full', async () => (await waiting()) === 20);
    const before = engine.begun.length;
    const small = freshId();
    const smallAnswer = chat({ id: small, tenant: 'small' });
    // It has the place of one that flooded.
    expect((await Promise.race(flood)).code).toBe('tenant_limit');
    engine.release();
    expect((await smallAnswer).status).toBe(200);
    // The two take turns.
    expect(engine.begun.indexOf(small) - before).toBeLessThanOrEqual(1);
    const codes = (await Promise.all([...running, ...flood])).map(({ code }) => code);
    expect(codes.filter((code) => code === 'tenant_limit').length).toBe(1);
  });

  test('who has as many at once as its tenant may is told so', async () => {
    await fixture.cluster.admin('PUT', '/admin/limits/tenants/small', { concurrency: 2 });
    const all = await Promise.all(fill(3, { tenant: 'small', events: long }));
    expect(all.map(({ status, code }) => `${status} ${code}`).sort()).toEqual([
      ...['200 ', '200 ', '429 tenant_limit'],
    ]);
    await fixture.cluster.admin('DELETE', '/admin/limits/tenants/small');
  });

  test('a request whose own deadline passes in the queue is told so', async () => {
    const running = await occupy();
    const late = await chat({ headers: { 'x-request-timeout-ms': '400' } });
    expect([late.status, late.code]).toEqual([504, 'total_timeout']);
    engine.release();
    await Promise.all(running);
  });
});
