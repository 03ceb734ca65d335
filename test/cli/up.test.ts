/** `cgn up --json` from its first line to its end: what it prints, keeps, hides, and leaves behind (nothing). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leftoversOf } from '../harness/leftovers.ts';
import { until } from '../harness/until.ts';
import { isAlive } from '../robustness/processes.ts';
import { cgn, cgnJson, descendantsOf, startNpm, startUp, temporaryDirectory, type Up } from './run-cgn.ts';

const messages = [{ role: 'user' as const, content: 'Hello' }];
/** A revoked key may be trusted for ten seconds; the rest is for a machine that runs other tests as well. */
const revokedMsMax = 14_000;

interface Key {
  readonly id: string;
  readonly key: string;
  readonly revokedAtMs: number | null;
}

const complete = async (up: Up, apiKey?: string): Promise<string> => {
  const answer = await up
    .sdk(apiKey)
    .chat.completions.create({ model: 'tiny', messages, max_tokens: 4, temperature: 0 });
  return answer.choices[0]?.message.content ?? '';
};
const statusOf = (up: Up, apiKey: string): Promise<number> =>
  complete(up, apiKey).then(
    () => 200,
    (thrown: { status?: number }) => thrown.status ?? 0,
  );

/** Everything the logs and the processes of a data directory show to others. */
const shown = (directory: string): string => {
  const logs = readdirSync(join(directory, 'logs')).map((file) =>
    readFileSync(join(directory, 'logs', file), 'utf8'),
  );
  const commands = leftoversOf(directory).map(({ command }) => command);
  expect(commands.length).toBeGreaterThanOrEqual(3);
  return [...logs, ...commands, readFileSync(join(directory, 'edge/config.capnp'), 'utf8')].join('\n');
};

describe('one data directory through its life', () => {
  const directory = temporaryDirectory();
  let up: Up;
  beforeAll(async () => {
    up = await (await startUp(directory)).ready();
  });
  afterAll(() => up.down());
  const data = ['--data-dir', directory];

  test('one line of JSON says where and with what, and a completion works', async () => {
    expect(up.said.out.trimEnd().split('\n')).toHaveLength(1);
    expect(Object.keys(up.told).sort()).toEqual(['adminKey', 'apiKey', 'joinToken', 'pid', 'url']);
    expect(up.told.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(up.told.apiKey).toMatch(/^cgk_/);
    expect(up.told.joinToken).toMatch(/^cgj_/);
    expect(isAlive(up.told.pid)).toBe(true);
    expect((await complete(up)).length).toBeGreaterThan(0);
    const chunks: string[] = [];
    const stream = await up
      .sdk()
      .chat.completions.create({ model: 'tiny', messages, max_tokens: 8, stream: true });
    for await (const chunk of stream) chunks.push(chunk.choices[0]?.delta.content ?? '');
    expect(chunks.length).toBeGreaterThan(1);
  });

  test('secrets are private: file modes, arguments, logs, configuration', async () => {
    const modeOf = (path: string): number => statSync(join(directory, path)).mode & 0o777;
    expect(modeOf('credentials')).toBe(0o600);
    expect(modeOf('agent/node.key')).toBe(0o600);
    expect(modeOf('edge/config.capnp')).toBe(0o600);
    const { fleetSecret } = JSON.parse(readFileSync(join(directory, 'credentials'), 'utf8')) as {
      fleetSecret: string;
    };
    const { apiKey, adminKey, joinToken } = up.told;
    await statusOf(up, `${apiKey}x`);
    const text = shown(directory);
    for (const secret of [apiKey, adminKey, joinToken, fleetSecret]) expect(text).not.toContain(secret);
    expect(up.said.errors).toBe('');
  });

  test('what its engine does is known', async () => {
    // RUN, WAIT and KV beside what the edge itself sent.
    const known = /^local .* ready +0 +0 +0 +\d+ % /m;
    await until('figures', async () => known.test((await cgn(['nodes', ...data])).out), 20_000);
  });

  test('a second "cgn up" on it is refused, and the first goes on', async () => {
    const { status, errors } = await cgn(['up', '--json', ...data, '--port', '1']);
    expect([status, errors]).toEqual([1, expect.stringContaining(`pid ${up.told.pid}`)]);
    expect((await complete(up)).length).toBeGreaterThan(0);
  });

  test('keys outlive a restart, revoked ones do not come back', async () => {
    const kept = await cgnJson<Key>(['keys', 'create', '--name', 'kept', ...data]);
    const dropped = await cgnJson<Key>(['keys', 'create', '--name', 'dropped', ...data]);
    expect([await statusOf(up, kept.key), await statusOf(up, dropped.key)]).toEqual([200, 200]);
    const revokedMs = performance.now();
    await cgnJson(['keys', 'revoke', dropped.id, ...data]);
    await until(
      'the revoked key to be refused',
      async () => (await statusOf(up, dropped.key)) === 401,
      revokedMsMax,
    );
    process.stdout.write(
      `[figure] revoked key refused after ${(performance.now() - revokedMs).toFixed(0)} ms\n`,
    );
    const before = up.told;
    const pids = [before.pid, ...descendantsOf(before.pid)];
    expect(pids.length).toBeGreaterThanOrEqual(4);
    const askedMs = performance.now();
    up.signal('SIGINT');
    expect(await up.exited).toBe(0);
    process.stdout.write(
      `[figure] SIGINT -> all gone after ${(performance.now() - askedMs).toFixed(0)} ms\n`,
    );
    expect(pids.filter(isAlive)).toEqual([]);
    expect(leftoversOf(directory)).toEqual([]);
    const startedMs = performance.now();
    up = await (await startUp(directory)).ready();
    process.stdout.write(
      `[figure] second start served after ${(performance.now() - startedMs).toFixed(0)} ms\n`,
    );
    expect(up.told.apiKey).toBe(before.apiKey);
    expect(up.told.adminKey).toBe(before.adminKey);
    expect(await statusOf(up, before.apiKey)).toBe(200);
    expect([await statusOf(up, kept.key), await statusOf(up, dropped.key)]).toEqual([200, 401]);
    const { keys } = await cgnJson<{ keys: Key[] }>(['keys', 'ls', ...data]);
    expect(keys.find(({ id }) => id === dropped.id)?.revokedAtMs).not.toBeNull();
  });

  test('SIGTERM ends it as Ctrl-C does, a live stream included', async () => {
    const pids = [up.told.pid, ...descendantsOf(up.told.pid)];
    const stream = await up
      .sdk()
      .chat.completions.create({ model: 'tiny', messages, max_tokens: 20, temperature: 0, stream: true });
    up.signal('SIGTERM');
    let finish: string | null | undefined;
    for await (const chunk of stream) finish = chunk.choices[0]?.finish_reason ?? finish;
    expect(finish).toBe('length');
    expect(await up.exited).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(leftoversOf(directory)).toEqual([]);
  });

  test('SIGKILL of cgn: agent and engine end by themselves, the next start reaps the edge', async () => {
    up = await (await startUp(directory)).ready();
    const children = descendantsOf(up.told.pid);
    const edge = Number(readFileSync(join(directory, 'edge/workerd.pid'), 'utf8'));
    expect(children).toContain(edge);
    up.signal('SIGKILL');
    await up.exited;
    await until('agent and engine to end', () => children.every((pid) => pid === edge || !isAlive(pid)));
    const port = new URL(up.told.url).port;
    up = await (await startUp(directory, ['--port', port])).ready();
    expect(isAlive(edge)).toBe(false);
    expect((await complete(up)).length).toBeGreaterThan(0);
  });
});

describe('as the README starts it', () => {
  const directory = temporaryDirectory();
  let up: Up;
  beforeAll(async () => {
    up = await (await startNpm(directory)).ready();
  });
  afterAll(() => up.down());

  test('SIGTERM to npm ends all of it in order, a live stream included', async () => {
    const pids = [up.told.pid, ...descendantsOf(up.told.pid)];
    const stream = await up
      .sdk()
      .chat.completions.create({ model: 'tiny', messages, max_tokens: 20, temperature: 0, stream: true });
    up.signal('SIGTERM');
    let finish: string | null | undefined;
    for await (const chunk of stream) finish = chunk.choices[0]?.finish_reason ?? finish;
    expect(finish).toBe('length');
    await up.exited;
    await until('all of it to be gone', () => pids.every((pid) => !isAlive(pid)), 10_000);
    expect(leftoversOf(directory)).toEqual([]);
  });
});
