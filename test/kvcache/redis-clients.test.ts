/** Real clients of Redis against the daemon: ioredis in both versions of the protocol, and Redis' own programs. */
import { createHash, randomBytes } from 'node:crypto';
import { Redis, type RedisOptions } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { redisCli, requestsPerSecond, runRedisProgram } from '../../bench/kv/redis-programs.ts';
import { version } from '../../protocol/src/version.ts';
import { startDaemon, startDaemonIn } from './daemon.ts';
import { startRedisServer } from './redis-server.ts';

const MiB = 2 ** 20;
const inMemory = ['--disk', '0', '--ram', '256MiB'] as const;

const connected = (port: number, options: Omit<RedisOptions, 'replyMapping'>): Redis => {
  const client = new Redis(port, { host: '127.0.0.1', maxRetriesPerRequest: 0, ...options });
  onTestFinished(() => client.disconnect());
  return client;
};

/** Long buffers by what they are, which compares and prints sooner. */
const digestsOf = (answers: readonly unknown[]): unknown[] =>
  answers.map((one) => (Buffer.isBuffer(one) ? createHash('sha256').update(one).digest('hex') : one));

describe.each([2, 3] as const)('ioredis, version %i of the protocol', (protocol) => {
  test('values of several MiB, one by one, several at once, and in a pipeline', async () => {
    const { port } = await startDaemon(...inMemory);
    const client = connected(port, { protocol });
    const values = [5 * MiB, 3 * MiB + 1, 0, 1, 16_383, 16_384, 16_385].map((bytes) => randomBytes(bytes));
    const pairs = values.map((value, at) => [`key ${at}\r\n\0`, value] as const);
    const keys = pairs.map(([key]) => key);
    for (const [key, value] of pairs) expect(await client.set(key, value)).toBe('OK');
    for (const [key, value] of pairs) expect((await client.getBuffer(key))?.equals(value)).toBe(true);
    expect(await client.mset(...pairs.flat())).toBe('OK');
    const got = await client.mgetBuffer(...keys, 'absent');
    expect(digestsOf(got)).toEqual(digestsOf([...values, null]));
    expect(await client.strlen(keys[0] ?? '')).toBe(5 * MiB);
    const pipeline = client.pipeline();
    for (const [key, value] of pairs) pipeline.del(key).set(key, value).getBuffer(key).exists(key);
    const answers = await pipeline.exec();
    expect(answers?.every(([error]) => error === null)).toBe(true);
    const expected = values.flatMap((value) => [1, 'OK', value, 1]);
    expect(digestsOf(answers?.map(([, answer]) => answer) ?? [])).toEqual(digestsOf(expected));
    expect(await client.del(...keys, 'absent')).toBe(keys.length);
    expect(await client.unlink(...keys)).toBe(0);
    expect(await client.getBuffer(keys[0] ?? '')).toBeNull();
  });

  test('keys are told, expire, and stand apart by database', async () => {
    const { port } = await startDaemon(...inMemory);
    const client = connected(port, { protocol, connectionName: 'a test' });
    const names = Array.from({ length: 200 }, (_, at) => `block:${at}`);
    await Promise.all(names.map((name) => client.set(name, name)));
    await client.set('other', 'x', 'EX', 100);
    const found = new Set<string>();
    for await (const page of client.scanStream({ match: 'block:*', count: 17 })) {
      for (const name of page as string[]) found.add(name);
    }
    expect([...found].sort()).toEqual([...names].sort());
    expect(await client.dbsize()).toBe(201);
    expect(await client.exists('block:0', 'block:1', 'absent')).toBe(2);
    expect([await client.ttl('other'), await client.ttl('block:0'), await client.ttl('absent')]).toEqual([
      100, -1, -2,
    ]);
    expect([await client.expire('block:0', 50), await client.ttl('block:0')]).toEqual([1, 50]);
    expect([await client.persist('block:0'), await client.ttl('block:0')]).toEqual([1, -1]);
    await client.pexpire('block:1', 1);
    await expect.poll(() => client.get('block:1')).toBeNull();
    expect(await client.select(1)).toBe('OK');
    expect([await client.dbsize(), await client.get('other')]).toEqual([0, null]);
    const second = connected(port, { protocol, db: 1 });
    await client.set('here', '1');
    expect(await second.get('here')).toBe('1');
    expect(await second.type('here')).toBe('string');
  });

  test('what clients ask of a server itself', async () => {
    const { port } = await startDaemonIn({ COGNITORA_KV_PASSWORD: 'secret' }, ...inMemory);
    const client = connected(port, { protocol, password: 'secret' });
    expect([await client.ping(), await client.ping('hi'), await client.echo('ho')]).toEqual([
      'PONG',
      'hi',
      'ho',
    ]);
    expect(await client.info()).toMatch(/^redis_version:[\d.]+\r$/m);
    expect(await client.client('SETNAME', 'a name')).toBe('OK');
    expect(await client.client('ID')).toEqual(expect.any(Number));
    const described = (await client.call('COMMAND')) as unknown[];
    expect(described).toHaveLength((await client.call('COMMAND', 'COUNT')) as number);
    expect(described).toContainEqual(expect.arrayContaining(['get', 2]));
    const hello = (await client.call('HELLO', String(protocol))) as unknown;
    const told = Array.isArray(hello) ? hello : Object.entries(hello as object).flat();
    expect(told.slice(0, 6)).toEqual(['server', 'redis', 'version', version, 'proto', protocol]);
    await expect(client.call('FLUSHALL')).rejects.toThrow(/^ERR unknown command 'FLUSHALL'/);
    await expect(client.hset('a', 'b', 'c')).rejects.toThrow(/^ERR unknown command 'HSET'/);
    expect(await client.quit()).toBe('OK');
    const stranger = connected(port, { protocol, password: 'wrong', retryStrategy: () => null });
    stranger.on('error', () => {});
    await expect(stranger.get('a')).rejects.toThrow();
  });
});

/** Lines of `redis-cli`; each answer of its own kind. */
const said = [
  ...['PING', 'ECHO hi', 'SET a 1', 'GET a', 'GET b', 'MSET c 2 d 3', 'MGET a b c', 'EXISTS a b c', 'MSET a'],
  ...[
    'STRLEN large',
    'TTL a',
    'TTL none',
    'PTTL a',
    'EXPIRE a 100',
    'TTL a',
    'PERSIST a',
    'PERSIST a',
    'TTL a',
  ],
  ...['TYPE a', 'TYPE b', 'DBSIZE', 'DEL a b', 'UNLINK a', 'GET', 'SET a 1 NX', 'SET a 3 NX', 'SET a 2 XX'],
  ...[
    'SET b 2 XX',
    'SET a 1 EX 0',
    'SET a 1 EX soon',
    'SET a 1 EX',
    'SET a 1 BY 1',
    'SET a 1 PX 90000',
    'TTL a',
  ],
  ...[
    'EXPIRE a soon',
    'EXPIRE a -1',
    'GET a',
    'SCAN 0 MATCH c* COUNT 1000',
    'SCAN x',
    'SCAN 0 COUNT 0',
    'SCAN 0 NO',
  ],
  ...[
    'AUTH x',
    'AUTH x y',
    'AUTH default y',
    'HELLO 9',
    'CLIENT SETNAME x',
    'SELECT 99',
    'SELECT x',
    'SELECT 3',
  ],
  ...['DBSIZE', 'GET c', 'SET c here', 'SELECT 0', 'GET c', 'DEL c d large', 'DBSIZE'],
];

describe('Redis’ own programs', () => {
  test('redis-cli hears from the daemon what it hears from Redis', async () => {
    const { port } = await startDaemon(...inMemory);
    const redis = await startRedisServer();
    const value = randomBytes(5 * MiB);
    for (const at of [port, redis]) {
      await runRedisProgram('redis-cli', ['-p', String(at), '-x', 'SET', 'large'], value);
      const got = await runRedisProgram('redis-cli', ['-p', String(at), '--raw', 'GET', 'large']);
      // It ends what it prints with a line feed.
      expect(got.subarray(0, -1).equals(value)).toBe(true);
    }
    for (const version of ['-2', '-3']) {
      const [ours, theirs] = await Promise.all(
        [port, redis].map((at) =>
          runRedisProgram('redis-cli', ['-p', String(at), version], Buffer.from(said.join('\n'))),
        ),
      );
      expect(ours?.toString()).toBe(theirs?.toString());
      expect(ours?.toString().split('\n').length).toBeGreaterThan(said.length);
    }
  });

  test('redis-cli reads HELLO 3, INFO and COMMAND', async () => {
    const { port } = await startDaemon(...inMemory);
    expect(await redisCli(port, 'HELLO', '3')).toMatch(/^server redis\b[\s\S]*^proto 3$/m);
    expect(await redisCli(port, 'INFO')).toMatch(/^maxmemory_policy:s3-fifo\r?$/m);
    expect(Number(await redisCli(port, 'COMMAND', 'COUNT'))).toBeGreaterThan(20);
    expect((await redisCli(port, 'COMMAND')).split('\n')).toContain('get');
  });

  test('redis-benchmark runs on values of 1 MiB, from many connections', async () => {
    const { port } = await startDaemon(...inMemory);
    const plain = { port, connections: 16, requests: 200, valueBytes: MiB, keys: 32 };
    expect(await requestsPerSecond({ ...plain, test: 'set' })).toBeGreaterThan(0);
    expect(await requestsPerSecond({ ...plain, test: 'get' })).toBeGreaterThan(0);
    expect(await redisCli(port, 'STRLEN', 'key:000000000000')).toBe(String(MiB));
  });
});
