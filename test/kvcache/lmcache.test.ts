/**
 * What LMCache's two Redis connectors send, byte for byte, and what they must hear. Written from the documented
 * sequences of its source: the `redis://` connector, through redis-py, and the `resp` connector of its multi-process
 * mode, C++ on plain sockets, which takes an answer only if each byte is as expected. What redis-py 8.1.0 says when it
 * connects was recorded. A real Redis server hears the same and must answer the same.
 */
import { createHash, randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { version } from '../../protocol/src/version.ts';
import { startDaemon, startDaemonIn } from './daemon.ts';
import { bulk, command, RawConnection } from './raw-connection.ts';
import { startRedisServer } from './redis-server.ts';

const MiB = 2 ** 20;
const ok = '+OK\r\n';
const nothing = '$-1\r\n';
type Step = readonly [sent: Buffer, heard: Buffer | string];

/** Each step's answer, whole and with nothing behind it. */
const expectAnswers = async (port: number, steps: readonly Step[], who: string): Promise<void> => {
  const connection = await RawConnection.open(port);
  onTestFinished(() => connection.close());
  for (const [at, [sent, heard]] of steps.entries()) {
    const expected = Buffer.from(heard as string, 'latin1');
    const got = await connection.exchange(sent, expected.length);
    const shown = got.toString('latin1', 0, 100);
    expect(got.equals(expected), `${who}, step ${at}: ${sent.toString('latin1', 0, 80)} -> ${shown}`).toBe(
      true,
    );
  }
};

const chunkHash = createHash('sha256').update('a chunk').digest('hex');
/** As long as 256 tokens of an 8B model in one layer's worth of layers: any size is the engine's to choose. */
const kvBytes = 5 * MiB + 3;

/** "iiiiiii" in native order: length, format, dtype (3: bfloat16), shape. */
const metadataOf = (length: number): Buffer => {
  const bytes = Buffer.alloc(28);
  for (const [at, value] of [length, 2, 3, 2, 32, 256, 1024].entries()) bytes.writeInt32LE(value, at * 4);
  return bytes;
};

test('the redis:// connector: metadata and kv_bytes, through redis-py', async () => {
  const daemon = await startDaemon('--disk', '0', '--ram', '64MiB');
  const key = `meta-llama/Llama-3.1-8B-Instruct@1@0@${chunkHash}@bfloat16`;
  const value = randomBytes(kvBytes);
  const metadata = metadataOf(value.length);
  const steps: readonly Step[] = [
    [command('EXISTS', `${key}metadata`), ':0\r\n'],
    [command('GET', `${key}metadata`), nothing],
    [command('SET', `${key}kv_bytes`, value), ok],
    [command('SET', `${key}metadata`, metadata), ok],
    [command('EXISTS', `${key}metadata`), ':1\r\n'],
    [command('GET', `${key}metadata`), bulk(metadata)],
    [command('GET', `${key}kv_bytes`), bulk(value)],
    // Metadata without its bytes is inconsistent, and is deleted.
    [command('DEL', `${key}kv_bytes`), ':1\r\n'],
    [command('GET', `${key}kv_bytes`), nothing],
    [command('DEL', `${key}metadata`), ':1\r\n'],
    [command('DEL', `${key}metadata`), ':0\r\n'],
    [command('EXISTS', `${key}metadata`), ':0\r\n'],
  ];
  await expectAnswers(daemon.port, steps, 'kvcached');
  await expectAnswers(await startRedisServer(), steps, 'redis-server');
});

test('what redis-py says when it connects, for either version of the protocol', async () => {
  const { port } = await startDaemon('--disk', '0', '--ram', '64MiB');
  // As recorded, the two SETINFO in one piece. A server that knows no notifications of maintenance says so.
  const unknown = '-ERR unknown subcommand of CLIENT; known are SETNAME, SETINFO, GETNAME, ID\r\n';
  const maintenance = ['MAINT_NOTIFICATIONS', 'ON', 'moving-endpoint-type', 'internal-ip'];
  const named = Buffer.concat([
    command('CLIENT', 'SETINFO', 'LIB-NAME', 'redis-py'),
    command('CLIENT', 'SETINFO', 'LIB-VER', '8.1.0'),
  ]);
  const greeting =
    '%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n' +
    `$${version.length}\r\n${version}\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n` +
    '$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n';
  const steps: readonly Step[] = [
    [command('HELLO', '3'), greeting],
    [command('CLIENT', ...maintenance), unknown],
    [named, ok + ok],
    [command('GET', 'absent'), '_\r\n'],
  ];
  await expectAnswers(port, steps, 'kvcached');
  await expectAnswers(
    port,
    [
      [named, ok + ok],
      [command('SELECT', '3'), ok],
    ],
    'kvcached',
  );
});

test('the resp connector: eight plain sockets, a password, one command at a time', async () => {
  const password = 'a password';
  const daemon = await startDaemonIn(
    { COGNITORA_KV_PASSWORD: password },
    ...['--disk', '0', '--ram', '256MiB'],
  );
  const redis = await startRedisServer(password);
  const stepsOf = (worker: number): readonly Step[] => {
    const key = `Qwen/Qwen3-8B@${worker.toString(16).padStart(8, '0')}@0@${chunkHash}`;
    const salted = `${key}@tenant-${worker}`;
    const value = randomBytes(2 * MiB);
    return [
      [worker % 2 === 0 ? command('AUTH', password) : command('AUTH', 'default', password), ok],
      [command('EXISTS', key), ':0\r\n'],
      [command('GET', key), nothing],
      [command('SET', key, value), ok],
      [command('EXISTS', key), ':1\r\n'],
      [command('EXISTS', salted), ':0\r\n'],
      [command('GET', key), bulk(value)],
      [command('SET', key, value.subarray(0, MiB)), ok],
      [command('GET', key), bulk(value.subarray(0, MiB))],
      [command('DEL', key), ':1\r\n'],
      [command('DEL', key), ':0\r\n'],
      [command('GET', key), nothing],
    ];
  };
  for (const [who, port] of [
    ['kvcached', daemon.port],
    ['redis-server', redis],
  ] as const) {
    const workers = Array.from({ length: 8 }, (_, worker) => expectAnswers(port, stepsOf(worker), who));
    await Promise.all(workers);
  }
});

test('a wrong password is refused in the words of Redis, and nothing is told without one', async () => {
  const daemon = await startDaemonIn({ COGNITORA_KV_PASSWORD: 'right' }, '--disk', '0', '--ram', '64MiB');
  const redis = await startRedisServer('right');
  const steps: readonly Step[] = [
    [command('GET', 'k'), '-NOAUTH Authentication required.\r\n'],
    [command('AUTH', 'wrong'), '-WRONGPASS invalid username-password pair or user is disabled.\r\n'],
    [command('SET', 'k', 'a short value'), '-NOAUTH Authentication required.\r\n'],
    [command('AUTH', 'right'), ok],
    [command('EXISTS', 'k'), ':0\r\n'],
  ];
  await expectAnswers(daemon.port, steps, 'kvcached');
  await expectAnswers(redis, steps, 'redis-server');
});
