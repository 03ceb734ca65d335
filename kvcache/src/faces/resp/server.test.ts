import { expect, test, vi } from 'vitest';
import { pageBytes } from '../../tiers/ram/extents.ts';
import { bulk, mebibyte, started, talk, wire } from './testing/face.ts';

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

// The first that are held are more than the kernel takes for a connection nobody reads.
test.each([
  [20, mebibyte, 16],
  [200, (mebibyte * 7) / 32, 64],
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
