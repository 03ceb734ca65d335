/** More than one region: a request goes where its model is, past a region that cannot serve it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FakeEngine } from '../fakes/fake-engine.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { type ErrorBody, freshId, jsonOf, type RawAnswer, send } from '../harness/http.ts';
import { pause, until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
/** From a request to the end of its answer, where its first region has lost its only host a moment ago. */
const elsewhereMsMax = 2_000;

describe.each(layouts)('two regions, layout %s', (layout) => {
  let near: FakeEngine;
  let far: FakeEngine;
  beforeAll(async () => {
    near = await startVllm({ models: ['everywhere', 'only-near'] });
    far = await startVllm({ models: ['everywhere', 'only-far'] });
  });
  afterAll(() => Promise.all([near.stop(), far.stop()]));
  const fixture = useCluster(() => ({
    layout,
    regions: ['weur', 'enam'],
    agents: [
      { name: 'near', engines: [near.url] },
      { name: 'far', engines: [far.url], region: 'enam' },
    ],
  }));
  const ask = (model: string, stream = false): Promise<RawAnswer> =>
    send(fixture.cluster.url + chatPath, {
      body: JSON.stringify({ model, messages: [], stream }),
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}` },
    });
  const listed = async (): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { id } of fixture.cluster.sdk().models.list()) ids.push(id);
    return ids;
  };

  test('each agent joined its own region', async () => {
    const regions = await fixture.cluster.regions();
    expect(regions.map(({ region, nodes }) => [region, nodes.map(({ name }) => name)])).toEqual([
      ['weur', ['near']],
      ['enam', ['far']],
    ]);
  });

  test('a model is served from where it is, the first region first', async () => {
    const served = async (model: string): Promise<unknown> =>
      (await ask(model)).headers['x-cognitora-region'];
    expect(await served('only-near')).toBe('weur');
    expect(await served('only-far')).toBe('enam');
    for (let times = 0; times < 5; times += 1) expect(await served('everywhere')).toBe('weur');
  });

  test('a request that no region serves says of each region why', async () => {
    const nowhere = await ask('nowhere');
    expect([nowhere.status, nowhere.headers['x-cognitora-route']]).toEqual([
      404,
      'region=weur; code=model_not_found; replicas=0, region=enam; code=model_not_found; replicas=0',
    ]);
  });

  test('after a retry both attempts can be read, each with its region', async () => {
    const { headers } = await ask('only-far');
    expect(headers['x-cognitora-route']).toMatch(/^replica=r0; .*; after=weur:model_not_found$/);
    const path = `/admin/requests/${headers['x-request-id']}`;
    const { decisions } = await fixture.cluster.admin<{ readonly decisions: unknown }>('GET', path);
    expect(decisions).toMatchObject([
      { outcome: 'placed', region: 'enam', earlier: [{ region: 'weur', code: 'model_not_found' }] },
      { outcome: 'refused', region: 'weur', code: 'model_not_found', earlier: [] },
    ]);
  });

  test('two live requests under one id have a receipt each, and each its own end', async () => {
    const id = freshId();
    const options = {
      body: JSON.stringify({ model: 'only-near', messages: [] }),
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id },
    };
    await Promise.all([1, 2].map(() => send(fixture.cluster.url + chatPath, options)));
    const ended = await until('both to have ended', async () => {
      const { decisions } = await fixture.cluster.admin<{
        readonly decisions: readonly { readonly ended?: { readonly record?: unknown } }[];
      }>('GET', `/admin/requests/${id}`);
      const ends = decisions.flatMap(({ ended: end }) => end?.record ?? []);
      return ends.length === 2 ? decisions : undefined;
    });
    expect(ended).toHaveLength(2);
  });

  test('a body that is kept only in part is served from the second region all the same', async () => {
    const body = JSON.stringify({ model: 'only-far', messages: [{ content: 'x'.repeat(4 * 1024 * 1024) }] });
    const id = freshId();
    const answer = await send(fixture.cluster.url + chatPath, {
      body,
      headers: { authorization: `Bearer ${fixture.cluster.apiKey}`, 'x-request-id': id },
    });
    expect([answer.status, answer.headers['x-cognitora-region']]).toEqual([200, 'enam']);
    expect(far.byId(id).body.toString() === body).toBe(true);
  });

  test('the models of all regions are listed once', async () => {
    expect(await listed()).toEqual(['everywhere', 'only-far', 'only-near']);
  });

  test('who asks right after the first region lost its only host is soon answered by the second', async () => {
    const { cluster } = fixture;
    await cluster.program('near').kill();
    const askAfter = async (afterMs: number, stream: boolean) => {
      await pause(afterMs);
      const askedMs = performance.now();
      const { status, isWhole, headers } = await ask('everywhere', stream);
      const tookMs = performance.now() - askedMs;
      return { afterMs, stream, status, isWhole, region: headers['x-cognitora-region'], tookMs };
    };
    const asked = [0, 500, 1_000].flatMap((afterMs) => [askAfter(afterMs, false), askAfter(afterMs, true)]);
    const answers = await Promise.all(asked);
    await cluster.startAgent({ name: 'near', engines: [near.url] });
    expect(answers.map(({ status, isWhole, region }) => [status, isWhole, region])).toEqual(
      answers.map(() => [200, true, 'enam']),
    );
    expect(answers.filter(({ tookMs }) => tookMs > elsewhereMsMax)).toEqual([]);
  });

  test('the second region serves while the first is down, and the first again when it is back', async () => {
    const { cluster } = fixture;
    const seen = async (): Promise<unknown> => (await ask('everywhere', true)).headers['x-cognitora-region'];
    expect(await seen()).toBe('weur');
    await cluster.program('near').kill();
    // From the kill on, no request may fail: either region answers.
    const answers: RawAnswer[] = [];
    await until('the second region to serve', async () => {
      const answer = await ask('everywhere', true);
      answers.push(answer);
      return answer.headers['x-cognitora-region'] === 'enam';
    });
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const gone = await ask('only-near');
    expect([gone.status, jsonOf<ErrorBody>(gone).error.code]).toEqual([503, 'no_capacity']);
    const readiness = await send(`${cluster.url}/readyz`);
    expect([readiness.status, jsonOf(readiness)]).toEqual([
      200,
      { ready: true, regions: { weur: false, enam: true } },
    ]);
    await until('the models of the first region to go', async () => !(await listed()).includes('only-near'));
    await cluster.startAgent({ name: 'near', engines: [near.url] });
    expect(await seen()).toBe('weur');
    expect((await ask('only-near')).status).toBe(200);
  });
});
