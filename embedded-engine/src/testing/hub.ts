/**
 * For tests: a model hub on loopback as the real one behaves (it redirects to a storage server and names size and
 * digest on the way), what it was asked, and the ways in which it can fail. One file, whatever is asked for.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

export interface Seen {
  readonly where: 'hub' | 'storage';
  readonly method: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
}

export class Hub {
  bytes: Buffer;
  /** What the hub says the digest is; `undefined`: the truth. */
  digest: string | undefined;
  /** Bytes after which the storage cuts the connection, one entry per GET; empty: it never does. */
  cuts: number[] = [];
  /** Resolves when the client has kept so many bytes of the file: a connection that goes sooner takes some with it. */
  taken: (bytes: number) => Promise<void> = async () => {};
  /** Bytes after which the storage falls silent, the connection open; for all GETs from then on. */
  holdAfter: number | undefined;
  /** Answers before everything else when it returns true. */
  first: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  /** Served by the hub itself under git's name for it, as small files are. */
  small = false;
  ignoreRange = false;
  seen: Seen[] = [];
  endpoint = '';
  readonly #servers: Server[] = [];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  async start(): Promise<this> {
    const storage = await this.#listen((request, response) => {
      this.#note('storage', request);
      this.#serveBytes(request, response);
    });
    this.endpoint = await this.#listen((request, response) => {
      this.#note('hub', request);
      if (this.first(request, response)) return;
      if (this.small) {
        const header = `blob ${this.bytes.length}\0`;
        response.setHeader('etag', `"${createHash('sha1').update(header).update(this.bytes).digest('hex')}"`);
        this.#serveBytes(request, response);
        return;
      }
      response.writeHead(302, {
        location: `${storage}/bytes?signed=1`,
        'x-linked-etag': `"${this.digest ?? sha256(this.bytes)}"`,
        'x-linked-size': this.bytes.length,
      });
      response.end();
    });
    return this;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  /** The ranges that the storage was asked for, in order; `undefined` for a whole file. */
  get ranges(): readonly (string | undefined)[] {
    return this.seen.filter(({ where }) => where === 'storage').map(({ range }) => range);
  }

  #note(where: Seen['where'], request: IncomingMessage): void {
    const { authorization: token, range } = request.headers;
    this.seen.push({ where, method: request.method ?? '', range, token });
  }

  #serveBytes(request: IncomingMessage, response: ServerResponse): void {
    const start = this.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = this.bytes.subarray(start);
    const last = this.bytes.length - 1;
    const ranged = start > 0 ? { 'content-range': `bytes ${start}-${last}/${this.bytes.length}` } : {};
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': body.length, ...ranged });
    if (this.holdAfter !== undefined) {
      response.write(body.subarray(0, this.holdAfter));
      return;
    }
    const cut = this.cuts.shift();
    if (cut === undefined || cut >= body.length) {
      response.end(request.method === 'HEAD' ? undefined : body);
      return;
    }
    response.write(body.subarray(0, cut));
    void this.taken(start + cut).finally(() => request.socket.destroy());
  }

  async #listen(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer(handler);
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
}
