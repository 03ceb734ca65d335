import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseKvPeers, parseKvStat } from '@cognitora/protocol/kv-daemon-bodies';
import { expect, onTestFinished, test } from 'vitest';
import { KvClient, kvSocketOf } from './kv-client.ts';
import { UserError } from './terminal.ts';

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-client-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const answering = async (path: string, status: number, body: string): Promise<() => Promise<void>> => {
  const server = createServer((_, response) => void response.writeHead(status).end(body));
  await new Promise<void>((accept) => server.listen(path, accept));
  const close = () =>
    new Promise<void>((accept) => {
      server.close(() => accept());
      server.closeAllConnections();
    });
  onTestFinished(close);
  return close;
};

test('the socket is the one that is named, by option before variable, or that of the directory', () => {
  const environment = { COGNITORA_KV_SOCKET: '/v.sock', COGNITORA_KV_DATA_DIR: '/v' };
  expect(kvSocketOf({ socket: '/o.sock', 'data-dir': '/o' }, environment)).toBe('/o.sock');
  expect(kvSocketOf({ 'data-dir': '/o' }, environment)).toBe('/o/kvcached.sock');
  expect(kvSocketOf({}, environment)).toBe('/v.sock');
  expect(kvSocketOf({}, { COGNITORA_KV_DATA_DIR: '/v' })).toBe('/v/kvcached.sock');
});

test('what is wrong with reaching it is told with the fix', async () => {
  const directory = directoryOf();
  const path = join(directory, 's');
  const asked = () => new KvClient(path).ask({ path: '/v1/stat' });
  await expect(asked()).rejects.toThrow(/there is no socket .* or name its --data-dir/);
  // A daemon that was killed leaves its file.
  const close = await answering(join(directory, 'first'), 200, '');
  renameSync(join(directory, 'first'), path);
  await close();
  await expect(asked()).rejects.toThrow('start it: cgn kvcached');
  await expect(asked()).rejects.toThrow(UserError);
});

test('its own words are told where it says no, and what is no kvcached is told as that', async () => {
  const path = join(directoryOf(), 's');
  await answering(path, 507, '{"error":{"code":"no_room","message":"Full."}}');
  await expect(new KvClient(path).read({ path: '/v1/stat' }, parseKvStat)).rejects.toThrow('Full.');
  const other = join(directoryOf(), 's');
  await answering(other, 200, 'hello');
  await expect(new KvClient(other).read({ path: '/v1/stat' }, parseKvStat)).rejects.toThrow('is no kvcached');
  const answer = { status: 200, tier: undefined, body: Buffer.from('{}') };
  expect(() => new KvClient(other).parsed(answer, parseKvPeers)).toThrow(UserError);
});
