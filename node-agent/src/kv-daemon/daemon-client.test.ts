/** Against a server that answers as the table of docs/design/0009 says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, json } from 'node:stream/consumers';
import type { NodeId } from '@cognitora/protocol/ids';
import { expect, onTestFinished, test } from 'vitest';
import { KvDaemonClient } from './daemon-client.ts';

const node = `n${'b'.repeat(26)}` as NodeId;

const started = async (answer: (request: IncomingMessage, response: ServerResponse) => unknown) => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-client-'));
  const path = join(directory, 'kvcached.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    void answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { client: new KvDaemonClient(path), asked, server };
};

test('values are written and read under their keys, and what is not there is no error', async () => {
  const values = new Map<string, Buffer>();
  const { client, asked } = await started(async (request, response) => {
    const key = request.url?.split('?')[0] ?? '';
    const value = values.get(key);
    if (request.method === 'PUT') values.set(key, await buffer(request));
    if (request.method !== 'GET') response.writeHead(204).end();
    else if (value === undefined) response.writeHead(404).end('{"error":{}}');
    else response.end(value);
  });
  const bytes = Buffer.from([0, 255, 1]);
  await client.put('n1:a/head', bytes);
  expect(await client.value('n1:a/head')).toEqual(bytes);
  expect(await client.value('n1:a/0', { node })).toBeUndefined();
  await client.remove('n1:\xff');
  expect(asked).toEqual([
    'PUT /v1/values/n1:a/head',
    'GET /v1/values/n1:a/head',
    `GET /v1/values/n1:a/0?node=${node}`,
    'DELETE /v1/values/n1:%FF',
  ]);
});

test('what is there is asked in as many questions as it takes, and keys come page by page', async () => {
  const { client, asked } = await started(async (request, response) => {
    if (request.url === '/v1/exists') {
      const { keys } = (await json(request)) as { keys: readonly string[] };
      response.end(JSON.stringify({ tiers: keys.map((key) => (key.endsWith('7') ? 'ssd' : null)) }));
    } else {
      const entry = { key: 'n1:a', bytes: 1, tier: 'ram', isPinned: false };
      response.end(JSON.stringify({ keys: [entry], cursor: 5 }));
    }
  });
  const there = await client.exists(Array.from({ length: 5_000 }, (_, at) => `n1:${at}`));
  expect([there.length, there.filter(Boolean).length, asked.length]).toEqual([5_000, 500, 2]);
  expect(await client.keys('n1:', 4)).toEqual({ keys: ['n1:a'], cursor: 5 });
  expect(asked.at(-1)).toBe('GET /v1/keys?prefix=n1%3A&cursor=4&count=1000');
});

test('a refusal has the words of the daemon, and nonsense is no answer', async () => {
  const { client } = await started((request, response) => {
    if (request.method === 'PUT' && request.url?.startsWith('/v1/values')) {
      response.writeHead(507).end('{"error":{"code":"no_room","message":"All of it is pinned."}}');
    } else response.end('{"namespace":"../x"}');
  });
  await expect(client.put('a', new Uint8Array(1))).rejects.toThrow('507: All of it is pinned.');
  await expect(client.namespace({ model: 'm' })).rejects.toThrow(/"n" and 16 hex/);
});

test('who no longer waits ends the question, and a daemon that is not there is an error', async () => {
  const late = new AbortController();
  const { client, server } = await started(() => late.abort());
  await expect(client.value('a', { node, signal: late.signal })).rejects.toThrow(/abort/);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await expect(client.value('a')).rejects.toThrow(/ENOENT|ECONNREFUSED/);
});

test('the lines of the fleet are an upgraded connection, both ways', async () => {
  const { client, server } = await started(() => {});
  server.on('upgrade', ({ headers }, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${headers.upgrade}\r\n\r\n`,
    );
    socket.write('{"type":"self"}\n');
    socket.on('data', (bytes: Buffer) => socket.end(bytes));
  });
  const socket = await client.fleet();
  socket.write('{"type":"fabric"}\n');
  expect((await buffer(socket)).toString()).toBe('{"type":"self"}\n{"type":"fabric"}\n');
});
