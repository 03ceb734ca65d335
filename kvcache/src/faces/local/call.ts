/** One request on the daemon's socket and the ways to answer it. Knows no route. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { kvUnescaped } from '@cognitora/protocol/kv-daemon';
import type { HeldValue } from '../../store.ts';
import { type LocalError, statusOf } from './error.ts';

export class Call {
  readonly request: IncomingMessage;
  readonly path: string;
  readonly #response: ServerResponse;
  readonly #query: ReadonlyMap<string, string>;
  readonly #gone = new AbortController();

  constructor(request: IncomingMessage, response: ServerResponse) {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    this.request = request;
    this.path = path;
    this.#response = response;
    this.#query = new Map(
      query.split('&').map((pair) => {
        const [name = '', ...value] = pair.split('=');
        return [name, kvUnescaped(value.join('=')) ?? ''];
      }),
    );
    response.once('close', () => this.#gone.abort());
  }

  /** Nobody waits for the answer any more, or it was sent. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  query(name: string): string | undefined {
    return this.#query.get(name);
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  json(body: object): void {
    this.#end(200, { 'content-type': 'application/json' }, Buffer.from(JSON.stringify(body)));
  }

  done(): void {
    this.#end(204, {}, undefined);
  }

  /** The value is the answer's from now on: it is released when it was sent, or cannot be. */
  value(held: HeldValue, tier: string): void {
    if (this.#gone.signal.aborted) {
      held.release();
      return;
    }
    this.#response.once('close', () => held.release());
    this.#end(200, { 'content-type': 'application/octet-stream', 'x-tier': tier }, held.bytes);
  }

  error(error: LocalError): void {
    const { code, message } = error;
    const body = Buffer.from(JSON.stringify({ error: { code, message } }));
    this.#end(statusOf(error), { 'content-type': 'application/json' }, body);
  }

  #end(status: number, headers: Readonly<Record<string, string>>, body: Buffer | undefined): void {
    // What of the body was not read is nobody's, and the next request stands behind it.
    this.request.resume();
    if (this.#response.headersSent || this.#gone.signal.aborted) return;
    const length = body === undefined ? {} : { 'content-length': body.length };
    this.#response.writeHead(status, { ...headers, ...length });
    this.#response.end(body);
  }
}
