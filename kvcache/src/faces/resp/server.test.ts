import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { wordsBytesMax } from '../../incoming.ts';
import { KvStore } from '../../store.ts';
import { pageBytes } from '../../tiers/ram/extents.ts';
import { type RespServerOptions, startRespServer } from './server.ts';

const mebibyte = 2 ** 20;

interface Setting extends Partial<RespServerOptions> {
  readonly ramBytesMax?: number;
  readonly isOnDisk?: boolean;
}

const started = async ({ ramBytesMax = 16 * mebibyte, isOnDisk = false, ...more }: Setting = {}) => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-resp-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const clock = { nowMs: 1_000_000 };
  const nowMs = (): number => clock.nowMs;
  const ssd = isOnDisk ? { directory, bytesMax: 256 * mebibyte } : undefined;
  const store = await KvStore.open({ ramBytesMax, ssd, nowMs });
  const failed: unknown[] = [];
  const server = await startRespServer({
    ...{ store, listen: { host: '127.0.0.1', port: 0 }, password: undefined, version: '0.0.0', nowMs },
    ...{ onError: (thrown) => failed.push(thrown), ...more },
  });
  const { port } = server.address() as AddressInfo;
  onTestFinished(async () => {
    server.close();
    await store.close();
    expect(failed).toEqual([]);
  });
  return { store, server, port, clock };
};

/** A connection that says what it is given, and what came back once it is as long as expected. */
const talk = async (port: number) => {
  const socket: Socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let pieces: Buffer[] = [];
  let length = 0;
  let isClosed = false;
  socket.on('data', (bytes) => {
    pieces.push(bytes);
    length += bytes.length;
  });
  socket.on('close', () => {
    isClosed = true;
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return {
    socket,
    say: (bytes: string | Buffer) => socket.write(bytes),
    hears: async (expected: string | Buffer) => {
      const wanted = Buffer.from(expected as string, 'latin1');
      await vi.waitFor(() => expect(length).toBeGreaterThanOrEqual(wanted.length), { timeout: 10_000 });
      const got = Buffer.concat(pieces);
      expect(got.equals(wanted) || got.toString('latin1', 0, 300)).toBe(true);
      pieces = [];
      length = 0;
    },
    closes: () => vi.waitFor(() => expect(isClosed).toBe(true), { timeout: 10_000 }),
  };
};

const wire = (...words: (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => {
      const bytes = Buffer.from(word as string);
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')];
    }),
  ]);

const bulk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);

test.each([
  ['PING', '+PONG\r\n'],
  ['PING hi', '$2\r\nhi\r\n'],
  ['ECHO hi', '$2\r\nhi\r\n'],
  ['GET a', '$-1\r\n'],
  ['SET a 1\r\nGET a', '+OK\r\n$1\r\n1\r\n'],
  ['set a 1\r\nget a', '+OK\r\n$1\r\n1\r\n'],
  ['SET a 1\r\nSTRLEN a\r\nSTRLEN b\r\nEXISTS a b a\r\nTYPE a', '+OK\r\n:1\r\n:0\r\n:2\r\n+string\r\n'],
  ['MSET a 1 b 2\r\nMGET a x b', '+OK\r\n*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n'],
  ['MSET a 1 a 2\r\nGET a', '+OK\r\n$1\r\n2\r\n'],
  ['MSET a 1 b\r\nGET a', "-ERR wrong number of arguments for 'mset' command\r\n$-1\r\n"],
  ['SET a 1\r\nDEL a b\r\nGET a', '+OK\r\n:1\r\n$-1\r\n'],
  ['SET a 1 NX\r\nSET a 2 NX\r\nSET b 1 XX\r\nGET a', '+OK\r\n$-1\r\n$-1\r\n$1\r\n1\r\n'],
  [
    'SET a 1 EX 10\r\nTTL a\r\nPTTL a\r\nPERSIST a\r\nTTL a\r\nTTL b',
    '+OK\r\n:10\r\n:10000\r\n:1\r\n:-1\r\n:-2\r\n',
  ],
  [
    'SET a 1\r\nEXPIRE a 10\r\nTTL a\r\nEXPIRE b 1\r\nEXPIRE a x',
    '+OK\r\n:1\r\n:10\r\n:0\r\n-ERR value is not an integer or out of range\r\n',
  ],
  [
    'SET a 1 EX 0\r\nSET a 1 PX x\r\nSET a 1 EX',
    "-ERR invalid expire time in 'set' command\r\n" +
      '-ERR value is not an integer or out of range\r\n-ERR syntax error\r\n',
  ],
  ['SET a 1 KEEPTTL', '-ERR syntax error\r\n'],
  ['SET a', "-ERR wrong number of arguments for 'set' command\r\n"],
  [
    'SET a 1\r\nSELECT 1\r\nGET a\r\nDBSIZE\r\nSELECT 0\r\nDBSIZE\r\nSELECT 16',
    '+OK\r\n+OK\r\n$-1\r\n:0\r\n+OK\r\n:1\r\n-ERR DB index is out of range\r\n',
  ],
  [
    'CLIENT SETNAME x\r\nCLIENT SETINFO LIB-NAME y\r\nCLIENT KILL z',
    '+OK\r\n+OK\r\n-ERR unknown subcommand of CLIENT; known are SETNAME, SETINFO, GETNAME, ID\r\n',
  ],
  ['CONFIG GET save', '*0\r\n'],
  ['COMMAND DOCS', '*0\r\n'],
  ['FLUSHALL', "-ERR unknown command 'FLUSHALL'; this store keeps KV blocks by GET and SET\r\n"],
  [
    'AUTH x\r\nAUTH default x\r\nAUTH me x',
    '-ERR AUTH <password> called without any password configured for the default user. ' +
      'Are you sure your configuration is correct?\r\n+OK\r\n' +
      '-WRONGPASS invalid username-password pair or user is disabled.\r\n',
  ],
  [
    'SCAN 5\r\nSCAN 0 MATCH',
    '-ERR the walk of this cursor was given up for newer ones; begin anew with cursor 0\r\n-ERR syntax error\r\n',
  ],
  [
    'SET a 1\r\nSCAN 0\r\nSCAN 0 MATCH b*\r\nSCAN x',
    '+OK\r\n*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n*2\r\n$1\r\n0\r\n*0\r\n-ERR invalid cursor\r\n',
  ],
])('%j is answered as Redis answers it', async (words, expected) => {
  const { port } = await started();
  const client = await talk(port);
  client.say(`${words}\r\n`);
  await client.hears(expected);
});

test('values of many megabytes go in and out, in any pieces, in the order they were asked for', async () => {
  const { port } = await started();
  const client = await talk(port);
  const [a, b] = [Buffer.alloc(3 * mebibyte, 'a'), Buffer.alloc(2 * mebibyte + 1, 'b')];
  const all = Buffer.concat([
    wire('SET', 'a', a),
    wire('SET', 'b', b),
    wire('MGET', 'b', 'a', 'c'),
    wire('PING'),
  ]);
  for (let at = 0; at < all.length; at += 77_777) client.say(all.subarray(at, at + 77_777));
  await client.hears(
    Buffer.concat([Buffer.from('+OK\r\n+OK\r\n*3\r\n'), bulk(b), bulk(a), Buffer.from('$-1\r\n+PONG\r\n')]),
  );
});

test('a value that only the disk has comes in its turn, and what is sent behind it waits', async () => {
  const { store, port } = await started({ isOnDisk: true });
  const client = await talk(port);
  const value = Buffer.alloc(mebibyte, 'v');
  for (let index = 0; index < 40; index += 1) {
    client.say(wire('SET', `k${index}`, value));
    await client.hears('+OK\r\n');
    await store.flush();
  }
  const before = store.counts.ssdHits;
  client.say(Buffer.concat([wire('GET', 'k1'), wire('PING'), wire('GET', 'k2'), wire('PING')]));
  await client.hears(
    Buffer.concat([bulk(value), Buffer.from('+PONG\r\n'), bulk(value), Buffer.from('+PONG\r\n')]),
  );
  expect(store.counts.ssdHits).toBe(before + 2);
});

test('a client that leaves in the middle of a value gives its room back', async () => {
  const { store, port } = await started();
  const client = await talk(port);
  client.say(wire('SET', 'a', Buffer.alloc(8 * mebibyte)).subarray(0, mebibyte));
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(8 * mebibyte + pageBytes), { timeout: 10_000 });
  client.socket.destroy();
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(0), { timeout: 10_000 });
});

test('a client that reads nothing is answered no more, and frees what it was given when it leaves', async () => {
  const { store, port } = await started();
  const writer = await talk(port);
  writer.say(wire('SET', 'a', Buffer.alloc(mebibyte)));
  await writer.hears('+OK\r\n');
  const idle = await talk(port);
  idle.socket.pause();
  for (let asked = 0; asked < 200; asked += 1) idle.say(wire('GET', 'a'));
  await vi.waitFor(() => expect(store.counts.ramHits).toBeGreaterThan(1), { timeout: 10_000 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(store.counts.ramHits).toBeLessThan(50);
  idle.socket.destroy();
  store.delete('db0:a');
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(0), { timeout: 10_000 });
});

test('a value without room is refused, one that is too large as well, and the connection goes on', async () => {
  const { store, port } = await started({ ramBytesMax: 4 * mebibyte });
  const client = await talk(port);
  client.say(wire('SET', 'a', Buffer.alloc(3 * mebibyte - pageBytes)));
  await client.hears('+OK\r\n');
  await store.pin('db0:a', true);
  client.say(Buffer.concat([wire('SET', 'b', Buffer.alloc(2 * mebibyte)), wire('PING')]));
  await client.hears(
    '-OOM no room for the value, and all that is here is read, being written, pinned or not on the disk yet; ' +
      'try again later\r\n+PONG\r\n',
  );
  client.say(Buffer.concat([wire('SET', 'c', Buffer.alloc(65 * mebibyte)), wire('PING')]));
  await client.hears('-ERR a value has 67108864 bytes at most here; store it in smaller chunks\r\n+PONG\r\n');
  client.say(
    Buffer.concat([wire('GET', 'k'.repeat(70_000)), wire('SET', 'k'.repeat(3_000), 'x'), wire('PING')]),
  );
  await client.hears(
    '-ERR a word of 70000 bytes, where 65536 are the most\r\n-ERR a key has 2048 bytes at most\r\n+PONG\r\n',
  );
});

test('without the password nothing is read or written, and a wrong one is told', async () => {
  const { store, port } = await started({ password: 'open sesame' });
  const client = await talk(port);
  client.say(
    Buffer.concat([
      wire('GET', 'a'),
      wire('SET', 'a', Buffer.alloc(mebibyte)),
      wire('AUTH', 'wrong'),
      wire('HELLO', '3'),
    ]),
  );
  await client.hears(
    '-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n' +
      '-WRONGPASS invalid username-password pair or user is disabled.\r\n' +
      '-NOAUTH HELLO must be called with the client already authenticated, or with AUTH\r\n',
  );
  expect(store.ram.counts.bytes).toBe(0);
  client.say(Buffer.concat([wire('AUTH', 'default', 'open sesame'), wire('SET', 'a', '1')]));
  await client.hears('+OK\r\n+OK\r\n');
});

test('before the password a command is small, and one of more words ends the connection', async () => {
  const { port } = await started({ password: 'open sesame' });
  const client = await talk(port);
  client.say(
    Buffer.concat([
      wire('MGET', ...Array.from({ length: 9 }, () => 'k'.repeat(2_000))),
      wire('AUTH', 'p'.repeat(15_000), 'q'.repeat(15_000)),
      wire('HELLO', '3', 'AUTH', 'default', 'wrong', 'SETNAME', 'me'),
    ]),
  );
  const tooMuch = '-ERR words of more than 16384 bytes in one command\r\n';
  await client.hears(
    `${tooMuch}${tooMuch}-WRONGPASS invalid username-password pair or user is disabled.\r\n`,
  );
  client.say('*11\r\n');
  await client.hears('-ERR Protocol error: invalid multibulk length\r\n');
  await client.closes();
});

test('as many keys as fit into a command are answered, and longer ones are told what fits', async () => {
  const { store, port } = await started();
  store.reserve(`db0:${'k'.repeat(250)}`, 1)?.commit();
  const client = await talk(port);
  client.say(wire('MGET', ...Array.from({ length: 4_095 }, () => 'k'.repeat(250))));
  await client.hears(`*4095\r\n${'$1\r\n\0\r\n'.repeat(4_095)}`);
  client.say(
    Buffer.concat([wire('MGET', ...Array.from({ length: 4_095 }, () => 'k'.repeat(300))), wire('PING')]),
  );
  await client.hears('-ERR words of more than 1048576 bytes in one command\r\n+PONG\r\n');
});

test('the words of all clients have a bound together, and are given back with their command', async () => {
  const { store, port } = await started();
  const client = await talk(port);
  const giveBack = store.incoming.keepWords(wordsBytesMax - mebibyte / 8, client.socket);
  const many = (of: string) => wire(of, ...Array.from({ length: 1_000 }, () => 'k'.repeat(250)));
  client.say(Buffer.concat([many('EXISTS'), wire('PING')]));
  await client.hears(
    '-OOM all clients together have sent as many words as are kept; try again later\r\n+PONG\r\n',
  );
  giveBack?.();
  client.say(Buffer.concat([many('EXISTS'), many('MGET'), many('EXISTS').subarray(0, 100_000)]));
  await client.hears(`:0\r\n*1000\r\n${'$-1\r\n'.repeat(1_000)}`);
  await vi.waitFor(() => expect(store.incoming.keepWords(wordsBytesMax, client.socket)).toBeUndefined());
  client.socket.destroy();
  await vi.waitFor(() => expect(store.incoming.keepWords(wordsBytesMax, client.socket)).toBeDefined());
});

test('many short values of one command lie in the store before it is whole, not on the heap', async () => {
  const { store, port } = await started({ ramBytesMax: 64 * mebibyte });
  const client = await talk(port);
  const pairs = Array.from({ length: 500 }, (_, at) => [`k${at}`, Buffer.alloc(15_000, at)]).flat();
  const all = wire('MSET', ...pairs);
  client.say(all.subarray(0, -20_000));
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBeGreaterThan(490 * 15_000), { timeout: 10_000 });
  expect(store.ram.counts.values).toBe(0);
  client.say(all.subarray(-20_000));
  await client.hears('+OK\r\n');
  client.say(wire('MGET', 'k0', 'k499'));
  await client.hears(
    Buffer.concat([Buffer.from('*2\r\n'), bulk(Buffer.alloc(15_000)), bulk(Buffer.alloc(15_000, 499))]),
  );
});

test.each([
  [20, mebibyte, 16],
  [200, mebibyte / 16, 64],
])(
  'of an MGET of %s values of %s bytes no more than %s are held for a slow client',
  async (count, bytes, held) => {
    const { store, port } = await started({ ramBytesMax: 64 * mebibyte });
    const names = Array.from({ length: count }, (_, at) => `k${at}`);
    const values = names.map((_, at) => Buffer.alloc(bytes, at));
    for (const [at, name] of names.entries()) {
      const value = store.reserve(`db0:${name}`, bytes);
      values[at]?.copy(value?.bytes ?? Buffer.alloc(0));
      value?.commit();
    }
    const client = await talk(port);
    client.socket.pause();
    client.say(wire('MGET', ...names));
    await vi.waitFor(() => expect(store.counts.ramHits).toBeGreaterThan(0), { timeout: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(store.counts.ramHits).toBe(held);
    client.socket.resume();
    await client.hears(Buffer.concat([Buffer.from(`*${count}\r\n`), ...values.map(bulk)]));
    expect(store.counts.ramHits).toBe(count);
    const leaving = await talk(port);
    leaving.socket.pause();
    leaving.say(wire('MGET', ...names));
    await vi.waitFor(() => expect(store.counts.ramHits).toBe(count + held), { timeout: 10_000 });
    leaving.socket.destroy();
    for (const name of names) store.delete(`db0:${name}`);
    await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(0), { timeout: 10_000 });
  },
);

test('INFO counts what peers gave as a hit, and tells the tiers apart', async () => {
  const { store, port } = await started();
  store.reserve('db0:a', 1)?.commit();
  store.peers = { isOutOf: () => false, has: async () => true, fetch: async () => store.hold('db0:a') };
  const client = await talk(port);
  client.say('MGET a b\r\nGET c\r\n');
  await client.hears('*2\r\n$1\r\n\0\r\n$1\r\n\0\r\n$1\r\n\0\r\n');
  let info = '';
  client.socket.on('data', (bytes) => {
    info += bytes.toString();
  });
  client.say('INFO\r\n');
  await vi.waitFor(() => expect(info).toContain('disk_errors:0\r\n'));
  expect(info).toContain('keyspace_hits:3\r\nkeyspace_misses:0\r\n');
  expect(info).toContain('memory_hits:1\r\ndisk_hits:0\r\npeer_hits:2\r\n');
});

test('version 3 has its own words for nothing and for pairs', async () => {
  const { port } = await started();
  const client = await talk(port);
  client.say(
    Buffer.concat([wire('HELLO', '3'), wire('GET', 'a'), wire('CONFIG', 'GET', 'x'), wire('HELLO', '4')]),
  );
  await client.hears(
    '%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n0.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n' +
      '$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n_\r\n%0\r\n' +
      '-NOPROTO unsupported protocol version\r\n',
  );
});

test('what is no such protocol is told and ends the connection', async () => {
  const { port } = await started();
  const client = await talk(port);
  client.say('*1\r\n:5\r\n');
  await client.hears("-ERR Protocol error: expected '$', got ':'\r\n");
  await client.closes();
});

test('the server counts its connections, and has ended when the last has', async () => {
  const { server, port } = await started();
  const [first, second] = [await talk(port), await talk(port)];
  first.say('PING\r\n');
  await first.hears('+PONG\r\n');
  const count = () => new Promise<number>((resolve) => server.getConnections((_, open) => resolve(open)));
  await vi.waitFor(async () => expect(await count()).toBe(2), { timeout: 10_000 });
  second.socket.destroy();
  await vi.waitFor(async () => expect(await count()).toBe(1), { timeout: 10_000 });
  const ended = new Promise((resolve) => server.once('close', resolve));
  server.close();
  first.say('QUIT\r\n');
  await first.hears('+OK\r\n');
  await ended;
});

test('a walk over all keys in small pieces tells each key', async () => {
  const { store, port } = await started();
  for (let index = 0; index < 100; index += 1) store.reserve(`db0:key ${index}`, 1)?.commit();
  const client = await talk(port);
  const found = new Set<string>();
  let cursor = '0';
  do {
    let answer = '';
    const heard = (bytes: Buffer): void => {
      answer += bytes.toString();
    };
    client.socket.on('data', heard);
    client.say(wire('SCAN', cursor, 'COUNT', '7'));
    await vi.waitFor(() => expect(answer.endsWith('\r\n') && answer.startsWith('*2')).toBe(true), {
      timeout: 10_000,
    });
    client.socket.off('data', heard);
    const lines = answer.split('\r\n');
    cursor = lines[2] ?? '0';
    for (const line of lines.filter((one) => one.startsWith('key '))) found.add(line);
  } while (cursor !== '0');
  expect(found.size).toBe(100);
});

/** The most of what a count grew by while the loop that all connections share went round once. */
const mostOfOneRound = async (count: () => number, end: number): Promise<number> => {
  let most = 0;
  for (let before = count(); before < end; ) {
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, count() - before);
    before = count();
  }
  return most;
};

test.each([
  ['GET a\r\n', 130],
  ['MGET a\r\n', 130],
  ['EXISTS a a a a a a a\r\n', 300],
  ['SCAN 0\r\n', 1],
])('of many %j sent at once some are answered, then the others have their turn', async (command, most) => {
  const { store, port } = await started();
  const [get, lengthOf, keys] = [vi.spyOn(store, 'get'), vi.spyOn(store, 'has'), vi.spyOn(store, 'keys')];
  const count = (): number => get.mock.calls.length + lengthOf.mock.calls.length + keys.mock.calls.length;
  const client = await talk(port);
  const sent = Math.floor(16_000 / command.length);
  client.say(command.repeat(sent));
  expect(await mostOfOneRound(count, sent)).toBeLessThanOrEqual(most);
});

test('a pattern that is dear makes a short page, and goes on behind it', async () => {
  const { store, port } = await started();
  for (let index = 0; index < 100; index += 1) {
    store.reserve(`db0:${index}${'a'.repeat(1_900)}`, 1)?.commit();
  }
  const looks = vi.spyOn(store.ram, 'keys');
  const client = await talk(port);
  const dear = `*${'a'.repeat(200)}b`;
  client.say(wire('SCAN', '0', 'MATCH', dear, 'COUNT', '10000'));
  await client.hears('*2\r\n$1\r\n1\r\n*0\r\n');
  client.say(wire('SCAN', '1', 'MATCH', '99*', 'COUNT', '10000'));
  await client.hears(`*2\r\n$1\r\n0\r\n*1\r\n$1902\r\n99${'a'.repeat(1_900)}\r\n`);
  expect(looks).toHaveBeenCalledTimes(1);
  client.say(wire('SCAN', '0', 'MATCH', 'a'.repeat(257)));
  await client.hears('-ERR a pattern has 256 bytes at most\r\n');
});

test('of a key that an MSET names twice the last value stays, long or short', async () => {
  const { store, port } = await started();
  const client = await talk(port);
  const long = Buffer.alloc(20_000, 'x');
  client.say(Buffer.concat([wire('MSET', 'k', 'short', 'k', long), wire('GET', 'k')]));
  await client.hears(Buffer.concat([Buffer.from('+OK\r\n'), bulk(long)]));
  client.say(Buffer.concat([wire('MSET', 'k', long, 'k', 'short'), wire('GET', 'k')]));
  await client.hears('+OK\r\n$5\r\nshort\r\n');
  client.say(Buffer.concat([wire('MSET', 'a', '1', 'k'.repeat(3_000), long), wire('DEL', 'k')]));
  client.say(wire('MSET', 'a', '1', 'b', long, 'k'.repeat(3_000), '1'));
  const tooLong = '-ERR a key has 2048 bytes at most\r\n';
  await client.hears(`${tooLong}:1\r\n${tooLong}`);
  expect(store.ram.counts.bytes).toBe(0);
});

test('who does not tell the password in time is cut, who told it stays', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { port } = await started({ password: 'open sesame' });
  const [mute, known] = [await talk(port), await talk(port)];
  const answers = [mute, known].map(({ socket }) => new Promise((resolve) => socket.once('data', resolve)));
  mute.say('PING\r\n');
  known.say(wire('AUTH', 'open sesame'));
  await Promise.all(answers);
  vi.advanceTimersByTime(5_000);
  vi.useRealTimers();
  await mute.closes();
  known.say('PING\r\n');
  await known.hears('+OK\r\n+PONG\r\n');
});

test('values that are not whole leave most of memory to those that are, and their senders are cut', async () => {
  const { store, port } = await started({ ramBytesMax: 8 * mebibyte });
  store.reserve('db0:whole', 5 * mebibyte)?.commit();
  const half = wire('SET', 'half', Buffer.alloc(mebibyte / 2)).subarray(0, 20_000);
  const slow = await Promise.all(Array.from({ length: 12 }, () => talk(port)));
  for (const { say } of slow) say(half);
  await vi.waitFor(() => expect(store.counts.refusals).toBe(9), { timeout: 10_000 });
  expect(store.ram.counts.bytes).toBeLessThan(7 * mebibyte);
  expect(store.has('db0:whole')).toBe(true);
  for (let look = 0; look < 10; look += 1) store.incoming.look();
  await vi.waitFor(() => expect(slow.filter(({ socket }) => socket.closed)).toHaveLength(3), {
    timeout: 10_000,
  });
  await vi.waitFor(() => expect(store.ram.counts.bytes).toBe(5 * mebibyte + pageBytes), { timeout: 10_000 });
  const client = await talk(port);
  client.say(wire('SET', 'new', Buffer.alloc(mebibyte)));
  await client.hears('+OK\r\n');
});
