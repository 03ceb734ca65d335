/**
 * The README's way to add hosts: a TLS proxy in front of the edge, and `--origin` with its address. The proxy speaks
 * plain HTTP to workerd, so what the edge sees of a request is not what the host dialled and signed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { TlsProxy } from '../harness/tls-proxy.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { bodyFor, chatPath, headersFor } from './requests.ts';

describe.each(layouts)('an edge behind a TLS proxy, layout %s', (layout) => {
  const engine = new PuppetEngine();
  const proxy = new TlsProxy();
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-tls-'));
  const trusted = join(directory, 'proxy.pem');
  beforeAll(async () => {
    writeFileSync(trusted, proxy.identity.certificate);
    await Promise.all([engine.start(), proxy.start()]);
  });
  afterAll(async () => {
    await Promise.all([engine.stop(), proxy.stop()]);
    rmSync(directory, { recursive: true });
  });
  const fixture = useCluster(() => ({ layout, origins: [proxy.url] }));

  /** A stream's status and text, asked for over TLS. */
  const streamed = (): Promise<readonly [status: number | undefined, text: string]> =>
    new Promise((accept, reject) => {
      const outgoing = request(proxy.url + chatPath, {
        method: 'POST',
        headers: headersFor(fixture.cluster, freshId()),
        ca: proxy.identity.certificate,
        agent: false,
      });
      outgoing.once('error', reject);
      outgoing.once('response', (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (part: string) => {
          text += part;
        });
        incoming.once('end', () => accept([incoming.statusCode, text]));
        incoming.once('error', reject);
      });
      outgoing.end(bodyFor({ act: 'drip', events: 20, everyMs: 10 }));
    });

  test('a host enrols and dials through it, clients stream through it, and a cut link comes back', async () => {
    const { cluster } = fixture;
    proxy.forwardTo(Number(new URL(cluster.url).port));
    await cluster.startAgent({
      name: 'far',
      engines: [engine.url],
      edge: proxy.url,
      environment: { NODE_EXTRA_CA_CERTS: trusted },
    });
    await until('the host to be linked', () => cluster.program('far').said.length === 1);
    expect(cluster.program('far').said).toMatchObject([{ event: 'joined', epoch: 1 }]);
    const [status, text] = await streamed();
    expect([status, text.match(/"\d+ "/g)?.length]).toEqual([200, 20]);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    proxy.cut();
    await until('the host to dial again', () => cluster.program('far').said.length === 2);
    expect(cluster.program('far').said[1]).toMatchObject({ event: 'joined', epoch: 2 });
    expect((await streamed())[0]).toBe(200);
  });

  test('a host that does not trust the proxy does not join', async () => {
    const { cluster } = fixture;
    proxy.forwardTo(Number(new URL(cluster.url).port));
    const joined = cluster.startAgent({ name: 'wary', engines: [engine.url], edge: proxy.url });
    joined.catch(() => {});
    await until('its refusal', () => /wary: .*self-signed certificate/.test(cluster.log.text()));
    expect(cluster.program('wary').said).toEqual([]);
    await cluster.program('wary').kill();
    await expect(joined).rejects.toThrow(/ended/);
  });
});
