/** What one client may cost the others. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { wordsBytesMax } from '../../incoming.ts';
import { pageBytes } from '../../tiers/ram/extents.ts';
import { bulk, mebibyte, started, talk, wire } from './testing/face.ts';

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
