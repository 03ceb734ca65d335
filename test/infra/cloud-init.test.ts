/**
 * The user data of the stacks' hosts, run by cloud-init in a bare Debian: the release is installed, the token fetched
 * from where that cloud keeps it, and the agent joins a local edge, once. Minutes, and root: one of the long tests
 * (apt-get install debootstrap). infra/src/plans has what each stack renders by the same function.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cloudInit, joinScriptFor, packedUserData } from '../../infra/src/host/cloud-init.ts';
import { type HostSpec, kvcachedConfigDefault } from '../../infra/src/host/host-files.ts';
import type { TokenSource } from '../../infra/src/host/token-source.ts';
import { version } from '../../protocol/src/version.ts';
import { LivingFake } from '../fakes/engines/fake.ts';
import { vllm } from '../fakes/engines/vllm.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { buildHostRelease, repository } from '../release/host-release.ts';
import { emptyFolder } from '../release/run-installer.ts';
import { ReleaseServer } from '../release/small-release.ts';
import { CloudHost } from './cloud-host.ts';

const setUpMsMax = 900_000;
const place = emptyFolder();
const host = new CloudHost(join(place, 'root'));
const releases = new ReleaseServer(join(place, 'releases'));
const setup = '#!/bin/sh\necho prepared >/cloud/prepared\n';

describe('a host of a stack', () => {
  let engine: LivingFake;
  let installScript = '';
  let releaseUrl = '';
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));

  beforeAll(async () => {
    engine = await new LivingFake(vllm, { models: ['qwen'] }).start();
    host.install();
    installScript = readFileSync(await buildHostRelease(place), 'utf8');
    releaseUrl = await releases.start();
  }, setUpMsMax);
  afterEach(async ({ task }) => {
    await host.powerOff();
    if (task.result?.state === 'fail') process.stderr.write(`\n--- the host\n${host.log()}\n---\n`);
  });
  afterAll(async () => {
    await releases.stop();
    await engine.stop();
    rmSync(place, { recursive: true, force: true });
  });

  const unitOf = (name: string): string => readFileSync(join(repository, `docs/${name}.service`), 'utf8');
  const specOf = (token: TokenSource, more: Partial<HostSpec> = {}): HostSpec => ({
    edge: fixture.cluster.url,
    region: 'local',
    release: version,
    releaseUrl,
    token,
    agentConfig: `[[engine]]\nprofile = "vllm"\nurl = "${engine.url}"\n`,
    kvcachedConfig: undefined,
    setup: undefined,
    sources: {
      installScript,
      agentUnit: unitOf('cognitora-agent'),
      kvcachedUnit: unitOf('cognitora-kvcached'),
    },
    ...more,
  });

  /** For one host, once. */
  const oneTimeToken = async (): Promise<string> => {
    const made = await fixture.cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {
      uses: 1,
    });
    return made.joinToken;
  };
  const served = (name: string) =>
    fixture.cluster.node(name, ({ replicas }) => replicas.some(({ state }) => state === 'ready'));
  /** Whether a file of the host that outlives the join has that text. */
  const filesWith = (text: string): readonly string[] =>
    ['etc', 'run', 'var/lib/cognitora', 'var/log', 'usr/local'].flatMap((folder) =>
      readdirSync(host.path(folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .filter((path) => readFileSync(path).includes(text)),
    );
  const untilTokenIsGone = (): Promise<unknown> =>
    expect.poll(() => host.read('run/units/cognitora-agent.service'), { timeout: 30_000 }).toBe('active\n');

  const sources: Readonly<Record<string, TokenSource>> = {
    aws: { kind: 'aws', parameter: '/cognitora/prod/join-token', region: 'eu-west-1' },
    gcp: { kind: 'gcp', project: 'my-project', secret: 'cognitora-prod-join-token' },
    azure: {
      kind: 'azure',
      vaultUri: 'https://fleet0001.vault.azure.net/',
      secret: 'join-token',
      clientId: '11111111-1111-4111-8111-111111111111',
    },
  };

  /** EC2 gives it compressed, as its stack does; the others as text. */
  const asGiven = (cloud: string, userData: string): string | Buffer =>
    cloud === 'aws' ? Buffer.from(packedUserData(userData), 'base64') : userData;

  test.each(Object.keys(sources))(
    'of %s fetches its token, joins, serves, and keeps none of it',
    async (cloud) => {
      const [source, token] = [sources[cloud], await oneTimeToken()];
      if (source === undefined) throw new Error(cloud);
      const userData = cloudInit(specOf(source));
      expect(userData).not.toContain(token);
      host.become(`i-${cloud}`, asGiven(cloud, userData), token);
      writeFileSync(host.path('cloud/user-data'), userData);
      expect(host.run('cloud-init', 'schema', '--config-file', '/cloud/user-data')).toContain(
        'Valid cloud-config',
      );
      await host.boot(cloud);
      await served(cloud);
      await untilTokenIsGone();
      expect(filesWith(token)).toEqual([]);
      expect(host.read('cloud/asked')).not.toBe('');
      const messages = [{ role: 'user' as const, content: 'Grüß mich.' }];
      const answer = await fixture.cluster.sdk().chat.completions.create({ model: 'qwen', messages });
      expect(answer.choices[0]?.message.content).toContain('Köln');
    },
  );

  test('that joined comes back after a power cut, and asks no secret store', async () => {
    const { node } = await (async () => {
      const userData = cloudInit(specOf(sources.aws as TokenSource));
      host.become('i-again', asGiven('aws', userData), await oneTimeToken());
      await host.boot('again');
      return served('again');
    })();
    await untilTokenIsGone();
    await host.powerOff();
    rmSync(host.path('cloud'), { recursive: true });
    await expect
      .poll(async () => (await fixture.cluster.regions())[0]?.nodes.some(({ name }) => name === 'again'))
      .toBe(false);
    await host.boot('again');
    expect((await served('again')).node).toBe(node);
    expect(host.read('cloud/asked')).toBe('');
  });

  test('with a token in its user data joins, and forgets it; one that shares KV starts kvcached', async () => {
    const token = await oneTimeToken();
    const more = { kvcachedConfig: `ram = "64MiB"\ndisk = "0"\n${kvcachedConfigDefault}`, setup };
    host.become('i-hetzner', cloudInit(specOf({ kind: 'user-data', token }, more)), 'none');
    await host.boot('hetzner');
    expect(host.read('cloud/prepared')).toBe('prepared\n');
    await served('hetzner');
    await untilTokenIsGone();
    expect(filesWith(token)).toEqual([]);
    await fixture.cluster.node('hetzner', ({ kv }) => kv !== undefined);
  });

  test('that no cloud starts joins by the script', async () => {
    const token = await oneTimeToken();
    host.become('i-dedicated', '#cloud-config\n{}\n', 'none');
    await host.boot('dedicated');
    const script = joinScriptFor(specOf({ kind: 'user-data', token }));
    await host.inMachine(script);
    await served('dedicated');
    await untilTokenIsGone();
    expect(filesWith(token)).toEqual([]);
  });

  test('whose secret store holds something else says so, and does not join', async () => {
    host.become('i-wrong', cloudInit(specOf(sources.gcp as TokenSource)), 'nothing');
    await host.boot('wrong');
    await expect
      .poll(() => host.log(), { timeout: 30_000 })
      .toContain('What the secret store holds is no join token');
    expect((await fixture.cluster.regions())[0]?.nodes.map(({ name }) => name)).not.toContain('wrong');
  });

  test('has units that systemd takes', () => {
    const more = { kvcachedConfig: kvcachedConfigDefault };
    host.become('i-units', cloudInit(specOf(sources.aws as TokenSource, more)), 'none');
    host.writeFilesOf(cloudInit(specOf(sources.aws as TokenSource, more)));
    const units = ['agent', 'join', 'kvcached'].map(
      (name) => `/etc/systemd/system/cognitora-${name}.service`,
    );
    expect(host.run('sh', '-c', `systemd-analyze verify --man=no ${units.join(' ')} 2>&1`)).toBe('');
  });
});
