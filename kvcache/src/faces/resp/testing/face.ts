/** A Redis face on loopback with a store of its own, and connections that say bytes and wait for bytes, for tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { KvStore } from '../../../store.ts';
import { type RespServerOptions, startRespServer } from '../server.ts';

export const mebibyte = 2 ** 20;

interface Setting extends Partial<RespServerOptions> {
  readonly ramBytesMax?: number;
  readonly isOnDisk?: boolean;
}

export const started = async ({ ramBytesMax = 16 * mebibyte, isOnDisk = false, ...more }: Setting = {}) => {
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
export const talk = async (port: number) => {
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

export const wire = (...words: (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => {
      const bytes = Buffer.from(word as string);
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')];
    }),
  ]);

export const bulk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
