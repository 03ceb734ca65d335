/**
 * Who may link: only a host that enrolled, with its own key, for this edge, once per signature. Everybody else is
 * refused with 401 and words, and the nodes that are linked notice nothing.
 */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import {
  Attacker,
  dial,
  dialAs,
  dialHeader,
  enrol,
  type Forger,
  newEnrolled,
  newForger,
} from './attacker.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask } from './requests.ts';

const skewMs = 121_000;

describe.each(layouts)('identities, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  const refusal = async (header: string): Promise<string> => {
    const link = await dial(fixture.cluster, header);
    if (link instanceof Attacker) {
      link.close();
      throw new Error('the dial was accepted');
    }
    expect(link.status).toBe(401);
    const { error } = JSON.parse(link.text) as { error: { code: string; message: string } };
    // A host that the edge does not know may enrol again; any other is refused for good.
    expect(error.code).toBe(/did not enrol/.test(error.message) ? 'not_enrolled' : 'identity_refused');
    return error.message;
  };
  /** A header that an enrolled host made, and what became of it. */
  const cases: readonly (readonly [
    string,
    (self: Forger, other: Forger, origin: string) => string,
    RegExp,
  ])[] = [
    ['nobody enrolled', (_self, _other, origin) => dialHeader(newForger(), origin), /did not enrol/],
    [
      "another's certificate",
      (self, other, at) => dialHeader(self, at, { certificate: other.certificate }),
      /enrol/,
    ],
    [
      "another's name and certificate, its own key",
      (self, { node, certificate }, at) => dialHeader(self, at, { node, certificate }),
      /not signed/,
    ],
    [
      "another's name, certificate and public key",
      (self, { node, certificate, publicKey }, at) => dialHeader(self, at, { node, certificate, publicKey }),
      /not signed/,
    ],
    [
      'a nonce that was not signed',
      (self, _other, at) => dialHeader(self, at, { nonce: 'n'.repeat(24) }),
      /not signed/,
    ],
    [
      'a signature of zeros',
      (self, _other, at) => dialHeader(self, at, { signature: Buffer.alloc(64).toString('base64url') }),
      /not signed/,
    ],
    ['a short signature', (self, _other, at) => dialHeader(self, at, { signature: 'AAAA' }), /not signed/],
    [
      'a certificate that is no base64',
      (self, _other, at) => dialHeader(self, at, { certificate: '!!' }),
      /enrol/,
    ],
    ['another origin', (self) => dialHeader(self, 'https://edge.example'), /not signed/],
    ['another region', (self, _other, at) => dialHeader(self, at, {}, 'enam'), /not signed/],
    [
      'a clock that is behind',
      (self, _other, at) => dialHeader(self, at, { timeMs: Date.now() - skewMs }),
      /clock/,
    ],
    [
      'a clock that is ahead',
      (self, _other, at) => dialHeader(self, at, { timeMs: Date.now() + skewMs }),
      /clock/,
    ],
    ['no identity at all', () => '', /well-formed/],
    ['an API key', () => `Bearer ${fixture.cluster.apiKey}`, /well-formed/],
    ['a kilobyte of junk', () => `Cognitora-Node ${'x'.repeat(2048)}`, /well-formed/],
  ];

  test.each(cases)('%s is refused', async (_what, headerOf, words) => {
    const { cluster } = fixture;
    const [self, other] = await Promise.all([newEnrolled(cluster), newEnrolled(cluster)]);
    expect(await refusal(headerOf(self, other, cluster.url))).toMatch(words);
    expect((await cluster.regions()).flatMap(({ nodes }) => nodes)).toHaveLength(1);
  });

  test('the same dial twice is a recording', async () => {
    const { cluster } = fixture;
    const header = dialHeader(await newEnrolled(cluster), cluster.url);
    const link = await dial(cluster, header);
    if (!(link instanceof Attacker)) throw new Error(`the first dial was refused: ${link.text}`);
    await link.welcomed();
    expect(await refusal(header)).toMatch(/not newer/);
    expect(link.closed).toBeUndefined();
    link.close();
    await until('the link to be forgotten', async () =>
      (await cluster.regions()).every(({ nodes }) => nodes.every(({ name }) => name !== 'attacker')),
    );
    expect(await refusal(header)).toMatch(/not newer/);
  });

  test('of two links with one key the newest wins, and the older is told', async () => {
    const { cluster } = fixture;
    const forger = await newEnrolled(cluster);
    const older = await (await dialAs(cluster, forger)).welcomed();
    const newer = await (await dialAs(cluster, forger)).welcomed();
    await until('the older link to close', () => older.closed);
    expect(older.goaways).toEqual(['superseded']);
    expect(newer.closed).toBeUndefined();
    newer.close();
  });

  test('a made-up join token, and a join with a foreign key, are refused', async () => {
    const { cluster } = fixture;
    expect(await enrol(cluster, newForger(), `cgj_${Buffer.alloc(32).toString('base64url')}`)).toBe(401);
    expect(await enrol(cluster, newForger(), cluster.apiKey)).toBe(401);
    const { joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    const thief = newForger();
    expect(await enrol(cluster, { ...thief, publicKey: newForger().publicKey }, joinToken)).toBe(401);
  });

  test('what is no upgrade, or no region, is told so', async () => {
    const { cluster } = fixture;
    const header = dialHeader(await newEnrolled(cluster), cluster.url);
    const headers = { authorization: header };
    expect((await send(`${cluster.url}/link/v1`, { headers })).status).toBe(400);
    expect(
      (await send(`${cluster.url}/link/v1`, { method: 'POST', body: 'x'.repeat(1000), headers })).status,
    ).toBe(404);
    expect((await send(`${cluster.url}/link/v1?region=%00%FF`, { headers })).status).toBe(400);
    expect((await send(`${cluster.url}/link/v1?region=nowhere`, { headers })).status).toBe(400);
    // Claims to upgrade, and then speaks of something else.
    const status = await new Promise<number>((accept, reject) => {
      const outgoing = request(`${cluster.url}/link/v1`, {
        headers: { authorization: header, connection: 'upgrade', upgrade: 'h2c' },
      });
      outgoing.once('response', (incoming) => accept(incoming.statusCode ?? 0));
      outgoing.once('error', reject);
      outgoing.end();
    });
    expect(status).toBe(400);
    expect((await ask(cluster, freshId(), {})).status).toBe(200);
  });
});
