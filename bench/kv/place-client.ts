/**
 * A program that maps the daemon's memory and is told where a value lies: a question and an answer on the daemon's
 * socket, and no byte of the value is copied.
 */
import { closeSync, openSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { kvDaemonPaths } from '@cognitora/protocol/kv-daemon';
import koffi from 'koffi';

export interface PlaceClient {
  put(key: string, value: Buffer): Promise<void>;
  /** Shows the value where it lies, then gives it back. */
  see(key: string, look: (value: Buffer) => void): Promise<void>;
  /** The value's bytes over the socket, into a buffer that is kept, as a local engine would. */
  get(key: string, bytes: number): Promise<void>;
  /** By `node:http`, whose pieces are garbage of this program: collecting it takes 10 to 25 ms, now and then. */
  getPieces(key: string, bytes: number): Promise<void>;
  close(): void;
}

const library = koffi.load('libc.so.6');
type MapCall = (
  ...of: [address: null, length: number, protection: number, flags: number, fd: number, offset: number]
) => unknown;
const map = library.func('void *mmap(void *, size_t, int, int, int, int64_t)') as MapCall;
const readOnly = 1;
const shared = 1;

/** `bytes` of the daemon's arena: the whole of it, mapped once. */
const mapped = (path: string, bytes: number): Buffer => {
  const file = openSync(path, 'r');
  const address = map(null, bytes, readOnly, shared, file, 0);
  closeSync(file);
  if (koffi.address(address) === 2n ** 64n - 1n) throw new Error(`${path} cannot be mapped`);
  return Buffer.from(koffi.view(address, bytes));
};

interface Place {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
  readonly lease: number;
}

const receiveBytes = 256 * 1024;

/** One GET at a time on a connection of its own. */
const openReader = (socketPath: string) => {
  let head = '';
  let left = 0;
  let done = { resolve: (): void => {}, reject: (_: Error): void => {} };
  const take = (bytes: number, buffer: Uint8Array): boolean => {
    let body = bytes;
    if (!head.endsWith('\r\n\r\n')) {
      const text = head + Buffer.from(buffer.buffer, buffer.byteOffset, bytes).toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      head = end === -1 ? text : text.slice(0, end + 4);
      body = text.length - head.length;
    }
    left -= body;
    if (!'HTTP/1.1 200 '.startsWith(head.slice(0, 13)) || left < 0) done.reject(new Error(`GET: ${head}`));
    else if (left === 0) done.resolve();
    return true;
  };
  const onread = { buffer: Buffer.alloc(receiveBytes), callback: take };
  const socket = connect({ path: socketPath, onread });
  socket.on('error', (thrown) => done.reject(thrown));
  const get = (path: string, bytes: number): Promise<void> =>
    new Promise((resolve, reject) => {
      done = { resolve, reject };
      [head, left] = ['', bytes];
      socket.write(`GET ${path} HTTP/1.1\r\nHost: kvcached\r\n\r\n`);
    });
  return { get, close: () => socket.destroy() };
};

export const openPlaceClient = (socketPath: string, arenaBytes: number): PlaceClient => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const reader = openReader(socketPath);
  const arenas = new Map<string, Buffer>();
  const ask = (method: string, path: string, onData: (bytes: Buffer) => void, body?: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath, agent, method, path }, (answer) => {
        answer.on('data', onData);
        answer.once('error', reject);
        answer.once('end', () => {
          const status = answer.statusCode ?? 0;
          if (status >= 200 && status < 300) resolve();
          else reject(new Error(`${method} ${path}: ${status}`));
        });
      });
      asked.once('error', reject);
      asked.end(body);
    });
  const pathOf = (key: string): string => `${kvDaemonPaths.values}${encodeURIComponent(key)}`;
  return {
    put: (key, value) => ask('PUT', pathOf(key), () => {}, value),
    see: async (key, look) => {
      let text = '';
      await ask('GET', `${pathOf(key)}?as=place`, (bytes) => {
        text += bytes.toString();
      });
      const { path, offset, bytes, lease } = JSON.parse(text) as Place;
      const arena = arenas.get(path) ?? mapped(path, arenaBytes);
      arenas.set(path, arena);
      look(arena.subarray(offset, offset + bytes));
      await ask('DELETE', `${kvDaemonPaths.leases}${lease}`, () => {});
    },
    get: (key, bytes) => reader.get(pathOf(key), bytes),
    getPieces: async (key, bytes) => {
      let left = bytes;
      await ask('GET', pathOf(key), (part) => {
        left -= part.length;
      });
      if (left !== 0) throw new Error(`${key}: ${left} bytes are missing`);
    },
    close: () => {
      reader.close();
      agent.destroy();
    },
  };
};
