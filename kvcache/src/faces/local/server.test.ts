/** The daemon's socket, asked over real connections. */
import { existsSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  anyNode,
  type FromDaemon,
  type KvFetch,
  kvFleetUpgrade,
  kvValuePath,
  parseFromDaemon,
  type ToDaemon,
} from '@cognitora/protocol/kv-daemon';
import {
  kvErrorIn,
  parseKvDoctor,
  parseKvExists,
  parseKvKeysPage,
  parseKvNamespace,
  parseKvPeers,
  parseKvPlace,
  parseKvStat,
} from '@cognitora/protocol/kv-daemon-bodies';
import { TextLines } from '@cognitora/protocol/text-lines';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Namespaces } from '../../namespaces.ts';
import type { PeerAccess } from '../../peer-access.ts';
import { KvStore } from '../../store.ts';
import { nothingIgnored, Tally } from '../directory/counts.ts';
import type { RouteContext } from './routes.ts';
import { startLocalServer } from './server.ts';
import { SocketTaken } from './socket-file.ts';

const mebibyte = 2 ** 20;
const node = `n${'a'.repeat(26)}` as NodeId;

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-local-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

interface Given {
  readonly path?: string;
  readonly ramBytes?: number;
  readonly peers?: (store: KvStore) => PeerAccess;
  readonly nowMs?: () => number;
  readonly mirrors?: RouteContext['mirrors'];
}

const started = async ({
  ramBytes = 4 * mebibyte,
  peers,
  nowMs = () => 1_000,
  mirrors = [],
  ...given
}: Given = {}) => {
  const path = given.path ?? join(directoryOf(), 'kvcached.sock');
  const store = await KvStore.open({ ramBytesMax: ramBytes, ssd: undefined, nowMs });
  const errors: unknown[] = [];
  const server = await startLocalServer({
    path,
    store,
    namespaces: new Namespaces(undefined, () => {}),
    peers: peers?.(store),
    mirrors,
    nowMs,
    startedAtMs: 0,
    version: '9',
    onError: (thrown) => errors.push(thrown),
  });
  onTestFinished(() => server.close());
  return { path, store, server, errors };
};

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Its connection is used for all that is asked with it. */
  readonly agent?: Agent;
}

interface Answered {
  readonly status: number;
  readonly tier: string | undefined;
  readonly body: Buffer;
}

const ask = (socketPath: string, path: string, asked: Asked = {}): Promise<Answered> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body, agent } = asked;
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const sent = request(
      {
        socketPath,
        path,
        method,
        headers: { ...length, ...headers },
        ...(agent === undefined ? {} : { agent }),
      },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            tier: response.headers['x-tier']?.toString(),
            body: Buffer.concat(pieces),
          }),
        );
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });

const put = (path: string, key: string, body: string | Buffer, headers: Asked['headers'] = {}) =>
  ask(path, kvValuePath(key), { method: 'PUT', body, headers });

const post = (path: string, to: string, body: object) =>
  ask(path, to, { method: 'POST', body: JSON.stringify(body) });

/** One connection that is kept. */
const connectionOf = (): Agent => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  return agent;
};

test('a value of any bytes under a key of any bytes is put, got, told of and deleted', async () => {
  const { path } = await started();
  const key = `db0:${Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('')}`;
  const value = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7) % 256));
  expect(await put(path, key, value)).toMatchObject({ status: 204 });
  const got = await ask(path, kvValuePath(key));
  expect(got).toMatchObject({ status: 200, tier: 'ram' });
  expect(got.body.equals(value)).toBe(true);
  expect(parseKvExists((await post(path, '/v1/exists', { keys: [key, 'db0:none'] })).body)).toEqual({
    tiers: ['ram', null],
  });
  expect(parseKvKeysPage((await ask(path, '/v1/keys')).body).keys).toEqual([
    { key, bytes: value.length, tier: 'ram', isPinned: false },
  ]);
  expect(await ask(path, kvValuePath(key), { method: 'DELETE' })).toMatchObject({ status: 204 });
  expect(await ask(path, kvValuePath(key), { method: 'DELETE' })).toMatchObject({ status: 404 });
  expect(await ask(path, kvValuePath(key))).toMatchObject({ status: 404 });
});

test('a value has an end and a pin as its headers say, and what they cannot say is refused', async () => {
  let now = 1_000;
  const { path, store } = await started({ nowMs: () => now });
  await put(path, 'db0:a', 'x', { 'x-ttl-ms': '500', 'x-pin': 'true' });
  expect(parseKvKeysPage((await ask(path, '/v1/keys?prefix=db0%3A')).body).keys).toEqual([
    { key: 'db0:a', bytes: 1, tier: 'ram', isPinned: true, ttlMs: 500 },
  ]);
  expect(store.ram.counts.pinnedBytes).toBe(4096);
  now = 1_600;
  expect(await ask(path, '/v1/values/db0:a')).toMatchObject({ status: 404 });
  expect(await put(path, 'db0:a', 'x', { 'x-ttl-ms': '0' })).toMatchObject({ status: 400 });
  expect(await put(path, 'db0:a', 'x', { 'x-pin': 'yes' })).toMatchObject({ status: 400 });
  expect(await put(path, 'x'.repeat(2_049), 'x')).toMatchObject({ status: 400 });
  expect(await ask(path, '/v1/values/%zz')).toMatchObject({ status: 400 });
});

test('more than fits is 413 or 507, and the connection serves on', async () => {
  const { path } = await started({ ramBytes: mebibyte });
  const agent = connectionOf();
  const big = { method: 'PUT', body: Buffer.alloc(2 * mebibyte), agent };
  expect(await ask(path, '/v1/values/big', big)).toMatchObject({ status: 507 });
  expect(await ask(path, '/v1/values/big', { ...big, body: Buffer.alloc(65 * mebibyte) })).toMatchObject({
    status: 413,
  });
  expect(await ask(path, '/v1/values/small', { method: 'PUT', body: 'x', agent })).toMatchObject({
    status: 204,
  });
  expect(Object.values(agent.sockets).length + Object.values(agent.freeSockets).length).toBe(1);
});

test('a body without a length, too long a request and what is no JSON are refused in words', async () => {
  const { path } = await started();
  const chunked = { method: 'PUT', headers: { 'transfer-encoding': 'chunked' }, body: 'x' };
  expect((await ask(path, '/v1/values/a', { ...chunked, headers: { ...chunked.headers } })).status).not.toBe(
    204,
  );
  const long = await ask(path, '/v1/exists', { method: 'POST', body: ' '.repeat(mebibyte + 1) });
  expect(long.status).toBe(413);
  const none = await ask(path, '/v1/exists', { method: 'POST', body: '{' });
  expect(kvErrorIn(none.body)).toMatchObject({ code: 'bad_request' });
  const many = await post(path, '/v1/exists', { keys: Array.from({ length: 4_097 }, () => 'k') });
  expect(kvErrorIn(many.body)?.message).toContain('keys must be a list of at most 4096');
  expect(await ask(path, '/v1/nothing')).toMatchObject({ status: 404 });
  expect(await ask(path, '/v1/stat', { method: 'DELETE' })).toMatchObject({ status: 405 });
});

test('a put that breaks off leaves nothing, and its room is free again', async () => {
  const { path, store } = await started();
  const socket = connect(path);
  socket.write('PUT /v1/values/half HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nsome');
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBeGreaterThan(0));
  socket.destroy();
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(0));
  expect(await ask(path, '/v1/values/half')).toMatchObject({ status: 404 });
});

test.skipIf(process.platform !== 'linux')(
  'a place can be read by whoever opens it, and stays as it is until its lease or its connection ends',
  async () => {
    const { path, store, server } = await started();
    const agent = connectionOf();
    await put(path, 'db0:a', 'the value');
    const place = parseKvPlace((await ask(path, '/v1/values/db0:a?as=place', { agent })).body);
    const read = (): string => {
      const bytes = Buffer.alloc(place.bytes);
      readSync(openSync(place.path, 'r'), bytes, 0, place.bytes, place.offset);
      return bytes.toString();
    };
    expect(read()).toBe('the value');
    await ask(path, '/v1/values/db0:a', { method: 'DELETE' });
    await put(path, 'db0:b', 'another');
    expect(read()).toBe('the value');
    expect(store.ram.counts.bytes).toBe(2 * 4096);
    // Somebody else's connection cannot give it back.
    expect(await ask(path, `/v1/leases/${place.lease}`, { method: 'DELETE' })).toMatchObject({ status: 404 });
    expect(await ask(path, `/v1/leases/${place.lease}`, { method: 'DELETE', agent })).toMatchObject({
      status: 204,
    });
    expect(store.ram.counts.bytes).toBe(4096);
    await ask(path, '/v1/values/db0:b?as=place', { agent });
    expect(server.leases).toBe(1);
    agent.destroy();
    await vi.waitFor(() => expect(server.leases).toBe(0));
  },
);

test('one connection holds 64 places, and all together a quarter of the memory', async () => {
  const { path } = await started({ ramBytes: 4 * mebibyte });
  const agent = connectionOf();
  await put(path, 'small', 'x');
  for (let index = 0; index < 64; index += 1) {
    expect((await ask(path, '/v1/values/small?as=place', { agent })).status).toBe(200);
  }
  expect((await ask(path, '/v1/values/small?as=place', { agent })).status).toBe(429);
  await put(path, 'large', Buffer.alloc(1.5 * mebibyte));
  expect((await ask(path, '/v1/values/large?as=place', { agent: connectionOf() })).status).toBe(429);
  expect((await ask(path, '/v1/values/large')).status).toBe(200);
});

test('what was read is held no longer than that: a full store still evicts', async () => {
  const { path, store } = await started({ ramBytes: mebibyte });
  for (let index = 0; index < 20; index += 1) {
    expect((await put(path, `k${index}`, Buffer.alloc(200_000))).status).toBe(204);
    expect((await ask(path, `/v1/values/k${index}`)).body.length).toBe(200_000);
  }
  expect(store.ram.counts.bytes).toBeLessThanOrEqual(mebibyte);
});

test('keys are told in pages, each once, and pins change what they say', async () => {
  const { path } = await started();
  for (let index = 0; index < 25; index += 1) await put(path, `db0:${index}`, 'x');
  await put(path, 'db1:x', 'x');
  const found: string[] = [];
  let cursor: number | undefined;
  do {
    const from = cursor === undefined ? '' : `&cursor=${cursor}`;
    const page = parseKvKeysPage((await ask(path, `/v1/keys?prefix=db0:&count=10${from}`)).body);
    found.push(...page.keys.map(({ key }) => key));
    cursor = page.cursor;
  } while (cursor !== undefined);
  expect(found.toSorted()).toEqual(Array.from({ length: 25 }, (_, index) => `db0:${index}`).toSorted());
  expect(JSON.parse((await post(path, '/v1/pin', { keys: found, pinned: true })).body.toString())).toEqual({
    changed: 25,
  });
  const again = { keys: [...found, 'none'], pinned: false };
  expect(JSON.parse((await post(path, '/v1/pin', again)).body.toString())).toEqual({ changed: 25 });
});

test('at most three quarters of the memory are pinned', async () => {
  const { path, store } = await started({ ramBytes: mebibyte });
  for (let index = 0; index < 4; index += 1) await put(path, `k${index}`, Buffer.alloc(200_000));
  const pinned = await post(path, '/v1/pin', { keys: ['k0', 'k1', 'k2', 'k3'], pinned: true });
  expect(JSON.parse(pinned.body.toString())).toEqual({ changed: 3 });
  expect(store.ram.counts.pinnedBytes).toBeLessThanOrEqual(0.75 * mebibyte);
});

test('equal fields have one namespace in whatever order they come, and a field that is none is refused', async () => {
  const { path } = await started();
  const name = async (fields: object): Promise<string> =>
    parseKvNamespace(
      (await ask(path, '/v1/namespaces', { method: 'PUT', body: JSON.stringify({ fields }) })).body,
    );
  const one = await name({ model: 'm', dtype: 'fp8', more: { b: 1, a: 'x' } });
  expect(one).toMatch(/^n[0-9a-f]{16}$/);
  expect(await name({ more: { a: 'x', b: 1 }, dtype: 'fp8', model: 'm' })).toBe(one);
  expect(await name({ model: 'm', dtype: 'fp16', more: { a: 'x', b: 1 } })).not.toBe(one);
  const stat = parseKvStat((await ask(path, '/v1/stat')).body);
  expect(stat).toMatchObject({ version: '9', uptimeMs: 1_000, ram: { values: 0 }, leases: 0 });
  expect(stat.namespaces).toHaveLength(2);
  const wrong = await ask(path, '/v1/namespaces', {
    method: 'PUT',
    body: '{"fields":{"model":"m","dtyp":"x"}}',
  });
  expect(kvErrorIn(wrong.body)?.message).toContain('dtyp must be one of model, dtype');
});

test('without peers what needs them says so, and the rest serves', async () => {
  const { path } = await started();
  const tries = [
    await post(path, '/v1/fetch', { keys: ['a'], deadlineMs: 10 }),
    await post(path, '/v1/doctor', {}),
    await ask(path, '/v1/peers'),
    await ask(path, '/v1/values/a?node=any'),
    await ask(path, '/v1/fleet', { headers: { connection: 'upgrade', upgrade: kvFleetUpgrade } }),
  ];
  for (const { status, body } of tries) {
    expect(status).toBe(503);
    expect(kvErrorIn(body)).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('no peers'),
    });
  }
  expect(await ask(path, '/v1/fleet')).toMatchObject({ status: 426 });
  expect(await ask(path, '/v1/values/a')).toMatchObject({ status: 404 });
});

const somePeers =
  (asked: KvFetch[], received: ToDaemon[], attached: ((line: FromDaemon) => boolean)[]) =>
  (store: KvStore): PeerAccess => ({
    fetch: async (wanted) => {
      asked.push(wanted);
      for (const key of wanted.keys) {
        const room = store.reserve(key, 4);
        room?.bytes.write('far!');
        room?.commit();
      }
      return { fetched: wanted.keys.length, bytes: 4, ms: 1.5, missing: [] };
    },
    peers: () => ({ node, addresses: [], hasFabric: true, peers: [] }),
    doctor: async (one) => ({
      probes: [{ node: one ?? node, name: 'b', isOk: true, readMs: 2, namespaces: [] }],
    }),
    attach: (send) => {
      attached.push(send);
      send({ type: 'self', publicKey: 'k', addresses: [] });
      return {
        receive: (line) => received.push(line),
        closed: () => attached.splice(attached.indexOf(send), 1),
      };
    },
    counts: {
      tier: { fetches: 0, unheld: 0, inFlight: 0, failures: {} },
      peers: [],
      refused: { tls: {}, quic: {} },
    },
  });

test('a value that is not here comes from the node that is named, or from whoever has it', async () => {
  const asked: KvFetch[] = [];
  const { path } = await started({ peers: somePeers(asked, [], []) });
  expect(await ask(path, `/v1/values/a?node=${node}`)).toMatchObject({ status: 200, tier: 'peer' });
  expect(await ask(path, `/v1/values/a?node=${node}`)).toMatchObject({ status: 200, tier: 'ram' });
  expect((await ask(path, '/v1/values/b?node=any')).body.toString()).toBe('far!');
  expect(await ask(path, '/v1/values/c?node=somebody')).toMatchObject({ status: 400 });
  const fetched = await post(path, '/v1/fetch', { keys: ['d'], deadlineMs: 50 });
  expect(JSON.parse(fetched.body.toString())).toEqual({ fetched: 1, bytes: 4, ms: 1.5, missing: [] });
  expect(asked.map((one) => one.node)).toEqual([node, anyNode, anyNode]);
  expect(parseKvPeers((await ask(path, '/v1/peers')).body)).toMatchObject({ node, hasFabric: true });
  expect(parseKvDoctor((await post(path, '/v1/doctor', { node })).body).probes).toMatchObject([
    { node, isOk: true },
  ]);
  expect(await post(path, '/v1/fetch', { keys: ['d'], deadlineMs: 25_001 })).toMatchObject({ status: 400 });
});

test('what each tier gave and did not, and what the mirrors do, is told', async () => {
  const { totals, failures, unreplicated } = new Tally();
  const place = {
    isThere: true,
    files: 2,
    bytes: 30,
    waiting: 1,
    watches: 1,
    watchFailures: 0,
    replicaBytes: 0,
  };
  const counts = { ...totals, unreplicated, adopted: 2, unchanged: 1, ...place, ignored: nothingIgnored() };
  const mirror = {
    directory: '/kv',
    namespace: 'n0123456789abcdef',
    counts: { ...counts, bytesMax: 40, failures: { ...failures, busy: 3, full: 4 } },
    restore: async () => 'missing' as const,
  };
  const { path, store } = await started({ peers: somePeers([], [], []), mirrors: [mirror] });
  const fetch = async (key: string) => (key === 'far' ? store.hold('here') : undefined);
  store.peers = { isOutOf: () => false, has: async () => true, fetch };
  store.reserve('here', 1)?.commit();
  for (const key of ['here', 'far', 'nowhere']) (await store.get(key))?.release();
  const stat = parseKvStat((await ask(path, '/v1/stat')).body);
  expect(stat).toMatchObject({ ram: { hits: 1, misses: 2 }, peers: { hits: 1, misses: 1 }, misses: 1 });
  expect(stat.mirrors).toEqual([
    {
      ...{
        directory: '/kv',
        namespace: 'n0123456789abcdef',
        isThere: true,
        files: 2,
        bytes: 30,
        bytesMax: 40,
      },
      ...{ waiting: 1, adopted: 3, restored: 0, removed: 0, failures: 7 },
    },
  ]);
});

const fleetAt = async (path: string): Promise<{ socket: Socket; lines: FromDaemon[] }> => {
  const socket = connect(path);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  socket.write(
    `GET /v1/fleet HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: ${kvFleetUpgrade}\r\n\r\n`,
  );
  const reader = new TextLines(2 ** 20);
  const lines: FromDaemon[] = [];
  socket.on('data', (bytes) => {
    for (const line of reader.push(bytes)) if (line.startsWith('{')) lines.push(parseFromDaemon(line));
  });
  await vi.waitFor(() => expect(lines).toEqual([{ type: 'self', publicKey: 'k', addresses: [] }]));
  return { socket, lines };
};

test('the agent and the peers exchange lines, the newest agent alone', async () => {
  const received: ToDaemon[] = [];
  const attached: ((line: FromDaemon) => boolean)[] = [];
  const { path } = await started({ peers: somePeers([], received, attached) });
  const first = await fleetAt(path);
  const told: ToDaemon = { type: 'holders', ask: 7, holders: [[node], []] };
  first.socket.write(`${JSON.stringify(told)}\n`);
  await vi.waitFor(() => expect(received).toEqual([told]));
  attached[0]?.({ type: 'ask', ask: 8, digests: ['0123456789abcdef'] });
  await vi.waitFor(() => expect(first.lines.at(-1)).toMatchObject({ type: 'ask', ask: 8 }));
  const second = await fleetAt(path);
  await vi.waitFor(() => expect(first.socket.closed).toBe(true));
  expect(attached).toHaveLength(1);
  second.socket.write('{"type":"nonsense"}\n');
  await vi.waitFor(() => expect(second.socket.closed).toBe(true));
  expect(attached).toHaveLength(0);
});

test('an agent that does not read is cut before its lines fill memory', async () => {
  const attached: ((line: FromDaemon) => boolean)[] = [];
  const { path } = await started({ peers: somePeers([], [], attached) });
  const { socket } = await fleetAt(path);
  socket.pause();
  const [send = () => false] = attached;
  const line: FromDaemon = {
    type: 'held',
    isCleared: false,
    added: Array.from({ length: 8_192 }, () => '0123456789abcdef'),
    removed: [],
  };
  let sent = 0;
  while (send(line)) sent += 1;
  expect(sent).toBeGreaterThan(100);
  expect(sent * JSON.stringify(line).length).toBeLessThan(40 * mebibyte);
  await vi.waitFor(() => expect(attached).toHaveLength(0));
});

test('only its user may connect; what an earlier run left is replaced, what answers is not', async () => {
  const path = join(directoryOf(), 'd', 'kvcached.sock');
  const { server } = await started({ path });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await expect(started({ path })).rejects.toThrow(SocketTaken);
  expect(await ask(path, '/v1/stat')).toMatchObject({ status: 200 });
  await server.close();
  expect(existsSync(path)).toBe(false);
});

test('a socket that nobody answers on is replaced, and a file of another kind is not', async () => {
  const directory = directoryOf();
  const path = join(directory, 's');
  // A listener that is gone without its file being taken away, as after SIGKILL.
  const dead = createServer().listen(path);
  await vi.waitFor(() => expect(existsSync(path)).toBe(true));
  dead.unref();
  rmSync(path);
  const left = createServer();
  await new Promise<void>((resolve) => left.listen(join(directory, 'left'), resolve));
  const { renameSync } = await import('node:fs');
  renameSync(join(directory, 'left'), path);
  await new Promise((resolve) => left.close(resolve));
  expect(existsSync(path)).toBe(true);
  await started({ path });
  expect(await ask(path, '/v1/stat')).toMatchObject({ status: 200 });
  writeFileSync(join(directory, 'file'), 'mine');
  await expect(started({ path: join(directory, 'file') })).rejects.toThrow('is no socket');
});

test('one who asks far ahead of the answers is cut', async () => {
  const { path } = await started({
    peers: () => ({ ...somePeers([], [], [])({} as KvStore), fetch: () => new Promise(() => {}) }),
  });
  const socket = connect(path);
  socket.on('error', () => {});
  socket.resume();
  socket.write('GET /v1/values/x?node=any HTTP/1.1\r\nhost: h\r\n\r\n'.repeat(8));
  socket.write('GET /v1/stat HTTP/1.1\r\nhost: h\r\n\r\n');
  await vi.waitFor(() => expect(socket.closed).toBe(true));
});

test('values that are not whole leave most of memory to those that are, and their senders are cut', async () => {
  const { path, store } = await started({ ramBytes: 8 * mebibyte });
  await put(path, 'whole', Buffer.alloc(5 * mebibyte));
  const slow = Array.from({ length: 12 }, () => connect(path));
  for (const [at, socket] of slow.entries()) {
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    socket.write(`PUT ${kvValuePath(`k${at}`)} HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\nbegun`);
  }
  await vi.waitFor(() => expect(store.counts.refusals).toBe(8));
  expect(store.has('whole')).toBe(true);
  for (let look = 0; look < 10; look += 1) store.incoming.look();
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBeLessThan(5.1 * mebibyte));
  expect(await put(path, 'new', Buffer.alloc(2 * mebibyte))).toMatchObject({ status: 204 });
});
