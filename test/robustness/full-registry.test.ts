/**
 * A deployment that holds as many keys, join tokens and nodes as it may: it refuses one more in words, makes room for
 * it from what is dead, and keeps serving those it has. The rows are written into the registry's own file while the
 * edge is down: to make each over HTTP would take hours.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { joinTokensMax, keysMax, nodesEnrolledMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { type Cluster, startCluster } from '../harness/cluster.ts';
import { type ErrorBody, jsonOf, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { dialAs, enrol, newForger } from './attacker.ts';
import { again, crash, workerdPid } from './processes.ts';

const future = Date.now() + 86_400_000;

/** The rows that fill each table to its bound, numbered from 1; the first join token has expired. */
const fillers = {
  api_keys: {
    rowsMax: keysMax,
    row: `'key_' || i, 'hash' || i, 'full', 'default', 'chat', 0, NULL, NULL`,
  },
  join_tokens: {
    rowsMax: joinTokensMax,
    row: `'join_' || i, 'hash' || i, 0, iif(i = 1, 1, ${future}), 1, NULL`,
  },
  nodes: { rowsMax: nodesEnrolledMax, row: `'node_' || i, 'full', 0` },
} as const;

const fill = (path: string): void => {
  const database = new DatabaseSync(path);
  for (const [table, { rowsMax, row }] of Object.entries(fillers)) {
    const { rows } = database.prepare(`SELECT count(*) AS rows FROM ${table}`).get() as { rows: number };
    database.exec(
      `WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ${rowsMax - rows})
       INSERT INTO ${table} SELECT ${row} FROM numbers`,
    );
  }
  database.close();
};

/** Runs `act` while the edge is down, and starts it again; resolves with the way to end it. */
const whileDown = async (cluster: Cluster, act: () => void): Promise<() => Promise<unknown>> => {
  const pid = workerdPid(cluster.directory);
  const start = again(pid);
  await crash(pid);
  act();
  const edge = start();
  await until('the edge to be back', () => fetch(`${cluster.url}/healthz`).catch(() => undefined));
  return () => {
    edge.kill('SIGKILL');
    return until('the second edge to end', () => edge.signalCode !== null || edge.exitCode !== null);
  };
};

test('at its bounds the registry refuses one more, makes room from what is dead, and keeps the rest', async () => {
  const cluster = await startCluster({ layout: 'one-object' });
  let end = async (): Promise<unknown> => undefined;
  try {
    const { joinToken } = await cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    const known = newForger();
    expect(await enrol(cluster, known, joinToken)).toBe(200);
    const paths = globSync(join(cluster.directory, 'edge/objects/cognitora-Registry/*.sqlite'));
    const [path = ''] = paths.filter((candidate) => !candidate.endsWith('metadata.sqlite'));
    end = await whileDown(cluster, () => fill(path));

    const make = (what: 'keys' | 'join-tokens') =>
      send(`${cluster.url}/admin/${what}`, {
        body: JSON.stringify(what === 'keys' ? { name: 'one more', scopes: ['chat'] } : {}),
        headers: { authorization: `Bearer ${cluster.adminKey}` },
      });
    const expectFull = async (what: 'keys' | 'join-tokens', words: string): Promise<void> => {
      const answer = await make(what);
      const { code, message } = jsonOf<ErrorBody>(answer).error;
      expect([answer.status, code, message]).toEqual([503, 'over_budget', expect.stringContaining(words)]);
    };
    await expectFull('keys', `${keysMax} of them already: revoke a key`);
    await cluster.admin('DELETE', '/admin/keys/key_7');
    expect((await make('keys')).status).toBe(201);
    await expectFull('keys', `${keysMax} of them already`);
    expect((await make('join-tokens')).status).toBe(201);
    await expectFull('join-tokens', `${joinTokensMax} of them already: revoke a join token`);

    expect(await enrol(cluster, newForger(), joinToken)).toBe(503);
    expect(await enrol(cluster, known, joinToken)).toBe(200);
    const link = await (await dialAs(cluster, known)).welcomed();
    link.close();
    const headers = { authorization: `Bearer ${cluster.apiKey}` };
    expect((await send(`${cluster.url}/v1/models`, { headers })).status).toBe(200);
  } finally {
    await end();
    await cluster.stop();
  }
});
