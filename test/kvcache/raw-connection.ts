/** A plain socket to a Redis server: bytes out, bytes back, nothing interpreted. */
import { connect, type Socket } from 'node:net';
import { until } from '../harness/until.ts';

export class RawConnection {
  readonly #socket: Socket;
  readonly #got: Buffer[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => this.#got.push(bytes));
    socket.on('error', () => {});
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect(port, '127.0.0.1').setNoDelay();
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawConnection(socket);
  }

  /** Sends these bytes and returns as many as are to come back, or what came until there was no more. */
  async exchange(sent: Buffer | string, bytesBack: number): Promise<Buffer> {
    this.#socket.write(sent);
    const isThere = () => this.#got.reduce((sum, { length }) => sum + length, 0) >= bytesBack;
    await until('the answer', () => isThere() || this.#socket.destroyed, 20_000).catch(() => {});
    return Buffer.concat(this.#got.splice(0));
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Redis' own form of a command: bulk strings in an array. */
export const command = (...words: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.map((word) => bulk(Buffer.from(word as string))),
  ]);

export const bulk = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
