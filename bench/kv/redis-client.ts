/** The least that a local engine does to get a value over Redis' protocol: the bytes land in a buffer that it keeps. */
import { connect } from 'node:net';

export interface RedisClient {
  set(key: string, value: Buffer): Promise<void>;
  /** Resolves once the value is there, whole. */
  get(key: string, bytes: number): Promise<void>;
  close(): void;
}

const commandOf = (...words: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => [
      Buffer.from(`$${Buffer.byteLength(word)}\r\n`),
      Buffer.from(word),
      Buffer.from('\r\n'),
    ]),
  ]);

const receiveBytes = 256 * 1024;

/** One command at a time. */
export const openRedisClient = (address: { path: string } | { port: number }): Promise<RedisClient> =>
  new Promise((resolve, reject) => {
    let expected = '';
    let left = 0;
    let head = '';
    let done = { resolve: (): void => {}, reject: (_: Error): void => {} };
    const take = (bytes: number, buffer: Uint8Array): boolean => {
      const part = expected.slice(head.length);
      if (part !== '')
        head += Buffer.from(buffer.buffer, buffer.byteOffset, Math.min(bytes, part.length)).toString(
          'latin1',
        );
      left -= bytes;
      if (!expected.startsWith(head)) done.reject(new Error(`Redis said ${JSON.stringify(head)}`));
      else if (left === 0) done.resolve();
      return true;
    };
    const socket = connect({ ...address, onread: { buffer: Buffer.alloc(receiveBytes), callback: take } });
    const ask = (command: Buffer, answerHead: string, bytesBehind: number): Promise<void> =>
      new Promise((settle, fail) => {
        done = { resolve: settle, reject: fail };
        [expected, head, left] = [answerHead, '', answerHead.length + bytesBehind];
        socket.write(command);
      });
    socket.on('error', (thrown) => {
      reject(thrown);
      done.reject(thrown);
    });
    socket.once('connect', () =>
      resolve({
        set: (key, value) => ask(commandOf('SET', key, value), '+OK\r\n', 0),
        get: (key, bytes) => ask(commandOf('GET', key), `$${bytes}\r\n`, bytes + 2),
        close: () => socket.destroy(),
      }),
    );
  });
