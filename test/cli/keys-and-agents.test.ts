/** `cgn keys`, `cgn nodes` and `cgn agent` against an edge that runs: who may use it, and which hosts may join. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { environmentAt } from '../harness/environment.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { pause, until } from '../harness/until.ts';
import { PuppetEngine, puppetModel } from '../robustness/puppet-engine.ts';
import { cgn, cgnJson, type Ran, startUp, temporaryDirectory, type Up } from './run-cgn.ts';

const program = join(resolve(import.meta.dirname, '../..'), 'cli/src/cgn.ts');
const messages = [{ role: 'user' as const, content: 'Hello' }];

interface Key {
  readonly id: string;
  readonly key: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly tenant: string;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
}

interface Join {
  readonly id: string;
  readonly joinToken: string;
  readonly usesLeft: number;
  readonly expiresAtMs: number;
}

interface Nodes {
  readonly regions: readonly {
    readonly nodes: readonly { readonly name: string; readonly epoch: number }[];
  }[];
}

describe('an edge and those who come to it', () => {
  const engine = new PuppetEngine();
  const directory = temporaryDirectory();
  const data = ['--data-dir', directory];
  let up: Up;
  beforeAll(async () => {
    await engine.start();
    up = await (await startUp(directory, ['--engine-url', engine.url])).ready();
  });
  afterAll(async () => {
    await up.down();
    await engine.stop();
  });

  const statusOf = (apiKey: string): Promise<number> =>
    up
      .sdk(apiKey)
      .chat.completions.create({ model: puppetModel, messages })
      .then(
        () => 200,
        (thrown: { status?: number }) => thrown.status ?? 0,
      );
  const names = async (): Promise<string[]> => {
    const { regions } = await cgnJson<Nodes>(['nodes', ...data]);
    return regions.flatMap(({ nodes }) => nodes.map(({ name }) => name)).sort();
  };

  test('keys: created, listed, scoped, expiring, revoked', async () => {
    const made = await cgnJson<Key>([
      'keys',
      'create',
      '--name',
      'ci',
      '--tenant',
      'acme',
      '--expires',
      '30d',
      ...data,
    ]);
    expect(made).toMatchObject({
      name: 'ci',
      tenant: 'acme',
      scopes: ['chat', 'embeddings'],
      revokedAtMs: null,
    });
    expect((made.expiresAtMs ?? 0) - Date.now()).toBeGreaterThan(29 * 86_400_000);
    expect(await statusOf(made.key)).toBe(200);
    const narrow = await cgnJson<Key>([
      'keys',
      'create',
      '--name',
      'narrow',
      '--scopes',
      'embeddings',
      ...data,
    ]);
    expect(await statusOf(narrow.key)).toBe(403);
    const brief = await cgnJson<Key>(['keys', 'create', '--name', 'brief', '--expires', '2s', ...data]);
    expect(await statusOf(brief.key)).toBe(200);
    await until('the brief key to expire', async () => (await statusOf(brief.key)) === 401, 5_000);
    const listed = await cgnJson<{ keys: readonly Key[] }>(['keys', 'ls', ...data]);
    expect(listed.keys.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['cgn up', 'ci', 'narrow', 'brief']),
    );
    expect(JSON.stringify(listed)).not.toContain('cgk_');
    const shown = await cgn(['keys', 'ls', ...data]);
    expect(shown.out).toMatch(/ID +NAME +TENANT +SCOPES +CREATED +VALIDITY\n/);
    expect(shown.out).toMatch(/ci +acme +chat,embeddings .*expires in 30 d/);
    expect(await cgnJson(['keys', 'revoke', made.id, ...data])).toEqual({ revoked: made.id });
    const twice = await cgn(['keys', 'revoke', made.id, ...data]);
    expect([twice.status, twice.errors]).toEqual([1, expect.stringContaining('revoked already')]);
    expect((await cgn(['keys', 'ls', ...data])).out).toMatch(/ci +acme .*revoked \d+ s ago/);
  });

  test('a secret stands alone on standard output, for a script to take; what it is good for beside it', async () => {
    const joined = await cgn(['keys', 'join', ...data]);
    expect(joined.out).toMatch(/^cgj_[\w-]+\n$/);
    expect(joined.errors).toMatch(
      /^\nFor 16 host\(s\); expires in .*On the host:\n {2}COGNITORA_JOIN_TOKEN=/,
    );
    const created = await cgn(['keys', 'create', '--name', 'script', ...data]);
    expect(created.out).toMatch(/^cgk_[\w-]+\n$/);
    expect(created.errors).toMatch(/^\nKeep it: it is not shown again\./);
    expect(await statusOf(created.out.trim())).toBe(200);
  });

  test('what "cgn keys" refuses, it explains', async () => {
    const refused = async (...argv: string[]): Promise<string> => {
      const { status, out, errors } = await cgn(['keys', ...argv, ...data]);
      expect([status === 0, out]).toEqual([false, '']);
      return errors;
    };
    expect(await refused('create')).toMatch(/--name laptop/);
    expect(await refused('create', '--name', 'x', '--scopes', 'everything')).toMatch(
      /chat, embeddings, admin/,
    );
    expect(await refused('create', '--name', 'x', '--expires', 'soon')).toMatch(/like 90s, 30m, 24h or 7d/);
    expect(await refused('join', '--uses', 'many')).toMatch(/--uses must be a whole number/);
    expect(await refused('revoke')).toMatch(/its ID from "cgn keys ls"/);
    expect(await refused('revoke', 'key_unknown')).toMatch(/no such key/);
    expect(await refused('unjoin', 'join_unknown')).toMatch(/no such join token/);
    const wrong = await cgn(['keys', 'ls', ...data], { COGNITORA_ADMIN_KEY: up.told.apiKey });
    expect([wrong.status, wrong.errors]).toEqual([1, expect.stringContaining('lacks the scope "admin"')]);
  });

  test('nodes: as a table and as JSON', async () => {
    expect(await names()).toHaveLength(1);
    const { out } = await cgn(['nodes', ...data]);
    expect(out).toMatch(/^REGION +HOST +NODE +REPLICA +STATE +LIVE +.* MODELS +CACHE +LINKED\n/);
    expect(out).toMatch(/local .* r0 +ready +0 .* puppet /);
  });

  /** `cgn agent` for a host of that name, and how it ended if it did. */
  const agent = (
    name: string,
    environment: Record<string, string> = {},
    more: readonly string[] = [],
    isGroup = false,
  ) => {
    const argv = ['agent', '--edge', up.told.url, '--engine-url', engine.url, '--name', name, ...more];
    argv.push('--data-dir', join(directory, 'hosts', name));
    const child: ChildProcess = spawn(process.execPath, [program, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: isGroup,
      env: { ...environmentAt('/nonexistent'), ...environment },
    });
    const said = { out: '', errors: '' };
    child.stdout?.on('data', (part: Buffer) => {
      said.out += part.toString();
    });
    child.stderr?.on('data', (part: Buffer) => {
      said.errors += part.toString();
    });
    const over = new Promise<Ran>((accept) => child.once('close', (status) => accept({ status, ...said })));
    return { child, over, said };
  };
  /** An answer of 1.5 s. */
  const dripped = (model: string) => {
    const puppet = { act: 'drip', events: 30, everyMs: 50 };
    const body = { ...{ model, messages, stream: true as const }, puppet };
    return up.sdk().chat.completions.create(body);
  };
  const eventsOf = async (stream: AsyncIterable<unknown>): Promise<number> => {
    let events = 0;
    for await (const _ of stream) events += 1;
    return events;
  };
  const newToken = (...more: string[]): Promise<Join> => cgnJson<Join>(['keys', 'join', ...more, ...data]);
  const joins = async (): Promise<readonly Join[]> =>
    (await cgnJson<{ joinTokens: readonly Join[] }>(['keys', 'joins', ...data])).joinTokens;

  test('a second host joins with a token from its environment, and later without any', async () => {
    const token = await newToken('--uses', '1', '--expires', '1h');
    expect(token.usesLeft).toBe(1);
    const first = agent('attic', { COGNITORA_JOIN_TOKEN: token.joinToken });
    await until('the host to be linked', async () => (await names()).includes('attic'), 15_000);
    await until('its own words', () => first.said.out.includes('"event":"joined"'));
    expect((await joins()).find(({ id }) => id === token.id)?.usesLeft).toBe(0);
    for (const { command } of leftoversOf(directory)) expect(command).not.toContain(token.joinToken);
    expect(statSync(join(directory, 'hosts/attic/node.key')).mode & 0o777).toBe(0o600);
    first.child.kill('SIGTERM');
    const { status, out, errors } = await first.over;
    expect(status).toBe(0);
    expect(out + errors).not.toContain(token.joinToken);
    await until('the host to have left', async () => !(await names()).includes('attic'));
    const second = agent('attic');
    await until('the host to be linked again', async () => (await names()).includes('attic'), 15_000);
    second.child.kill('SIGTERM');
    expect((await second.over).status).toBe(0);
    expect(leftoversOf(join(directory, 'hosts'))).toEqual([]);
  });

  test('SIGTERM to a process group, which an agent hears twice, lets its live requests end', async () => {
    const { joinToken } = await newToken();
    const only = ['--alias', `barn=${puppetModel}`];
    const { child, over } = agent('barn', { COGNITORA_JOIN_TOKEN: joinToken }, only, true);
    await until('the host to be linked', async () => (await names()).includes('barn'), 15_000);
    const stream = await dripped('barn');
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    await pause(200);
    child.kill('SIGTERM');
    expect(await eventsOf(stream)).toBe(30);
    expect((await over).status).toBe(0);
  });

  test('a host whose "cgn agent" is killed leaves with it', async () => {
    const { joinToken } = await newToken();
    const { child, over } = agent('shed', { COGNITORA_JOIN_TOKEN: joinToken });
    await until('the host to be linked', async () => (await names()).includes('shed'), 15_000);
    child.kill('SIGKILL');
    // Its output ends with the last process that holds it: the agent.
    await over;
    expect(leftoversOf(join(directory, 'hosts/shed'))).toEqual([]);
    await until('the host to have left', async () => !(await names()).includes('shed'));
  });

  test('a token from a file works too', async () => {
    const { joinToken } = await newToken();
    mkdirSync(join(directory, 'hosts'), { recursive: true });
    const file = join(directory, 'hosts/token');
    writeFileSync(file, `${joinToken}\n`, { mode: 0o600 });
    const { child, over } = agent('cellar', {}, ['--join-token-file', file]);
    await until('the host to be linked', async () => (await names()).includes('cellar'), 15_000);
    child.kill('SIGTERM');
    expect((await over).status).toBe(0);
  });

  test('an expired, a used-up, a revoked and a foreign token, and none, are refused in words', async () => {
    const brief = await newToken('--expires', '1s');
    const revoked = await newToken();
    expect(await cgnJson(['keys', 'unjoin', revoked.id, ...data])).toEqual({ revoked: revoked.id });
    const used = (await joins()).find(({ usesLeft }) => usesLeft === 0);
    expect(used).toBeDefined();
    const once = await newToken('--uses', '1');
    const spender = agent('spender', { COGNITORA_JOIN_TOKEN: once.joinToken });
    await until(
      'the token to be used up',
      async () => (await joins()).find(({ id }) => id === once.id)?.usesLeft === 0,
    );
    spender.child.kill('SIGTERM');
    await spender.over;
    await until('the brief token to expire', () => Date.now() > brief.expiresAtMs);
    const tokens = {
      late: [brief.joinToken, /expired or used up\..*cgn keys join/],
      greedy: [once.joinToken, /expired or used up/],
      unwanted: [revoked.joinToken, /unknown or revoked\..*cgn keys join/],
      stranger: [`cgj_${Buffer.alloc(32, 7).toString('base64url')}`, /not one of this edge/],
    } as const;
    const ends = Object.entries(tokens).map(async ([name, [token, words]]) => {
      const { status, errors } = await agent(name, { COGNITORA_JOIN_TOKEN: token }).over;
      expect([name, status, errors]).toEqual([name, 1, expect.stringMatching(words)]);
      expect(errors).not.toContain(token);
    });
    await Promise.all(ends);
    const keyless = await agent('keyless', { COGNITORA_JOIN_TOKEN: up.told.apiKey }).over;
    expect([keyless.status, keyless.errors]).toEqual([
      2,
      expect.stringMatching(/^COGNITORA_JOIN_TOKEN holds no join token: that is "cgj_" and .*cgn keys join/),
    ]);
    expect(keyless.errors).not.toContain(up.told.apiKey);
    const { status, errors } = await agent('nothing').over;
    expect([status, errors]).toEqual([1, expect.stringMatching(/has not joined http.*cgn keys join/)]);
    expect(await names()).toHaveLength(1);
  });

  test('Ctrl-C, which "cgn up" hears again from npm, lets live requests end', async () => {
    const stream = await dripped(puppetModel);
    up.signal('SIGINT');
    await pause(100);
    up.signal('SIGINT');
    expect(await eventsOf(stream)).toBe(30);
    expect(await up.exited).toBe(0);
    expect(up.said.errors.match(/Ctrl-C again stops at once/g)).toHaveLength(1);
  });
});
