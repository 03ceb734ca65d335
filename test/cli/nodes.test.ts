/**
 * `cgn nodes` against edges of both layouts: a cordon outlives every restart, a drain waits for the last stream, and a
 * removed host comes back only with a new token.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId, jsonOf } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { PuppetEngine } from '../robustness/puppet-engine.ts';
import { ask, bodyFor, openRequest } from '../robustness/requests.ts';
import { cgn, cgnJson } from './run-cgn.ts';

interface Status {
  readonly node: string;
  readonly name: string;
  readonly linked: boolean;
  readonly cordonedAtMs: number | null;
  readonly live: number;
}

describe.each(layouts)('cgn nodes, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const specOf = (name: string) => ({ name, engines: [engine.url] });
  const fixture = useCluster(() => ({ layout, agents: ['attic', 'shed'].map(specOf) }));

  const edge = () => ['--edge', fixture.cluster.url];
  const environment = () => ({ COGNITORA_ADMIN_KEY: fixture.cluster.adminKey });
  const nodes = (...argv: string[]) => cgn(['nodes', ...argv, ...edge()], environment());
  const nodesJson = <Value = Status>(...argv: string[]) =>
    cgnJson<Value>(['nodes', ...argv, ...edge()], environment());
  /** Which hosts serve a few requests. */
  const serving = async (): Promise<readonly string[]> => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(fixture.cluster, freshId(), {})));
    const ids = new Set(answers.map(({ headers }) => String(headers['x-cognitora-node'])));
    const linked = (await fixture.cluster.regions()).flatMap((region) => region.nodes);
    return linked.flatMap(({ node, name }) => (ids.has(node) ? [name] : [])).sort();
  };
  /** A stream that goes on until its client leaves, on a node that alone may serve it. */
  const endless = async () => {
    const request = openRequest(
      fixture.cluster,
      freshId(),
      bodyFor({ act: 'drip', events: 100_000, everyMs: 20 }),
    );
    const incoming: AsyncIterable<Buffer> = await request.answered;
    const text = (async () => {
      const parts: Buffer[] = [];
      for await (const part of incoming) parts.push(part);
      return Buffer.concat(parts).toString();
    })().catch(String);
    return { text, hangUp: request.hangUp };
  };

  test('a cordon keeps new requests away and outlives a crash of the edge, then of the agent', async () => {
    const { cluster } = fixture;
    const { node } = await cluster.node('attic');
    expect(await nodesJson('cordon', node.slice(0, 12))).toMatchObject({ node, linked: true, live: 0 });
    expect(await serving()).toEqual(['shed']);
    await nodesJson('cordon', 'shed');
    const id = freshId();
    const refused = await ask(cluster, id, {});
    expect([refused.status, refused.headers['x-cognitora-route']]).toEqual([
      503,
      expect.stringContaining('replicas=2; cordoned=2'),
    ]);
    const why = await cgn(['route', 'why', id, ...edge()], environment());
    expect(why.out).toMatch(/none was eligible\n\(2 cordoned\)/);
    const unknown = await cgn(['route', 'why', 'no-such-id', ...edge()], environment());
    expect([unknown.status, unknown.errors]).toEqual([
      1,
      expect.stringContaining('there is no such request'),
    ]);
    await nodesJson('uncordon', 'shed');
    await cluster.crashEdge();
    for (const name of ['attic', 'shed']) await cluster.node(name);
    await until('shed to serve', async () => (await serving()).length > 0);
    expect(await serving()).toEqual(['shed']);
    await cluster.program('attic').kill();
    await until('attic to be away', async () => !(await nodesJson('cordon', 'attic')).linked);
    expect((await nodes()).out).toMatch(/- +attic +n\w+ +- +away,cordoned +- /);
    await cluster.startAgent(specOf('attic'));
    expect((await nodes('ls')).out).toMatch(/attic +n\w+ +r0 +ready,cordoned +0 +- +- +- +puppet/);
    expect(await serving()).toEqual(['shed']);
    expect((await nodes('uncordon', 'attic')).out).toMatch(/attic \(n\w+\) may get requests again\.\n/);
    expect(await serving()).toEqual(['attic', 'shed']);
  });

  test('a drain tells what is left when its time is up, and is done with the last stream', async () => {
    await nodesJson('cordon', 'attic');
    const stream = await endless();
    const late = await nodes('drain', 'shed', '--timeout', '1s');
    expect([late.status, late.out, late.errors]).toEqual([
      1,
      '',
      expect.stringMatching(/shed \(n\w+\) still serves 1 request after 1s\. It stays cordoned/),
    ]);
    const draining = nodes('drain', 'shed');
    expect((await ask(fixture.cluster, freshId(), {})).status).toBe(503);
    stream.hangUp();
    expect(await draining).toMatchObject({
      status: 0,
      out: expect.stringMatching(/shed \(n\w+\) is drained and stays cordoned\.\n/),
    });
    expect(await nodesJson('drain', 'shed')).toMatchObject({ name: 'shed', drained: true, live: 0 });
    for (const name of ['attic', 'shed']) await nodesJson('uncordon', name);
  });

  test('a host that was removed is out until somebody makes it a new token', async () => {
    const { cluster } = fixture;
    const { node } = await cluster.node('shed');
    await nodesJson('cordon', 'attic');
    const stream = await endless();
    const kept = await nodes('rm', 'shed');
    expect([kept.status, kept.errors]).toEqual([1, expect.stringMatching(/serves 1 live request\. Drain/)]);
    // The attempt leaves no cordon behind.
    expect((await ask(cluster, freshId(), {})).status).toBe(200);
    const agent = cluster.program('shed');
    expect(await nodesJson('rm', 'shed', '--force')).toEqual({ removed: node, name: 'shed' });
    const text = await stream.text;
    expect(text).toContain('"code":"link_lost"');
    expect(text).not.toContain('[DONE]');
    // It held a token, but one from before.
    await agent.exited;
    expect(cluster.log.text()).toMatch(/shed: .*not_enrolled.*The operator removed this node/);
    expect(cluster.log.text()).toMatch(/removed this node after that join token was made/);
    expect((await nodes()).out).not.toContain('shed');
    expect((await nodes('uncordon', 'shed')).errors).toMatch(/no node "shed"/);
    const { joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    await cluster.startAgent({ ...specOf('shed'), environment: { COGNITORA_JOIN_TOKEN: joinToken } });
    expect(await serving()).toEqual(['shed']);
    expect(await cluster.node('shed')).toMatchObject({ node });
    await nodesJson('uncordon', 'attic');
  });

  test('what may be any of several nodes is refused with their names, in the edge’s words', async () => {
    const many = await nodes('cordon', 'n');
    expect([many.status, many.out]).toEqual([1, '']);
    expect(many.errors).toMatch(/"n" may be any of n\w+ \(\w+\), n\w+ \(\w+\)\. Give more of the id\./);
    const headers = { authorization: `Bearer ${fixture.cluster.adminKey}` };
    const unknown = await fetch(`${fixture.cluster.url}/admin/nodes/${encodeURIComponent('a/b ?')}`, {
      headers,
    });
    expect(unknown.status).toBe(404);
    expect(jsonOf({ body: Buffer.from(await unknown.arrayBuffer()) })).toMatchObject({
      error: { code: 'not_found' },
    });
  });
});
