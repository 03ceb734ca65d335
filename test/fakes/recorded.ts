/**
 * A real engine's answers, played again: each folder of `recordings/` holds what one engine said to some requests, byte
 * for byte with status line, headers and chunks, and its README.md says which engine that was. A request that was not
 * recorded (an agent's probe) gets the answer to the plainest one of its kind. Plays only, decides nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parseBody } from './fake-engine.ts';
import { readAsked } from './openai-request.ts';
import { headAndBody, inChunks, type RawRequest } from './raw-http.ts';

const folder = join(import.meta.dirname, 'recordings');
const modelsPath = '/v1/models';
/** The request of a recording: its path, then its body. */
const requestEnd = '.request';

export interface Recording {
  readonly name: string;
  readonly path: string;
  /** The request's body as it was sent. */
  readonly body: string;
  /** The answer from its status line on. */
  readonly answer: Buffer;
}

/** The engines that were recorded. */
export const recordedEngines = readdirSync(folder).sort();

export const recordingsOf = (engine: string): readonly Recording[] =>
  readdirSync(join(folder, engine))
    .filter((file) => file.endsWith(requestEnd))
    .sort()
    .map((file) => {
      const name = file.slice(0, -requestEnd.length);
      const request = readFileSync(join(folder, engine, file), 'utf8');
      const lineEnd = request.indexOf('\n');
      const answer = readFileSync(join(folder, engine, `${name}.http`));
      return { name, path: request.slice(0, lineEnd), body: request.slice(lineEnd + 1), answer };
    });

const asValue = (body: string): unknown => parseBody(Buffer.from(body));
const withoutOptions = (body: string): unknown => ({
  ...parseBody(Buffer.from(body)),
  stream_options: undefined,
});

export class RecordedEngine {
  /** Requests in the order in which they came, with the name of what was played. */
  readonly received: (RawRequest & { readonly played: string })[] = [];
  readonly #recordings: readonly Recording[];
  readonly #models: Buffer;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    let held = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      for (let request = headAndBody(held); request !== undefined; request = headAndBody(held)) {
        held = held.subarray(request.bytes);
        this.#play(request, socket);
      }
    });
  });

  constructor(engine: string) {
    this.#recordings = recordingsOf(engine);
    this.#models = readFileSync(join(folder, engine, 'models.http'));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #play(request: RawRequest, socket: Socket): void {
    const recording = request.path === modelsPath ? undefined : this.#answerTo(request);
    const answer = recording?.answer ?? this.#models;
    this.received.push({ ...request, played: recording?.name ?? 'models' });
    // Cut where no event and no chunk ends: whoever reads must not rely on the pieces.
    for (const piece of inChunks(answer, 97)) socket.write(piece);
    // Engines close after some errors, and say so.
    if (/^connection: *close\r$/im.test(answer.toString('latin1', 0, 1_000))) socket.end();
  }

  /** What was said to this very request; to this one but for its `stream_options`; to the plainest of its kind. */
  #answerTo({ path, body }: RawRequest): Recording {
    const ofPath = this.#recordings.filter((recording) => recording.path === path);
    const asked = readAsked(parseBody(Buffer.from(body)) ?? {});
    const kind = path === '/v1/chat/completions' ? 'chat' : 'completion';
    const plain = `${kind}${asked.stream ? '-stream' : ''}${asked.includesUsage ? '-usage' : ''}`;
    const found =
      ofPath.find((recording) => isDeepStrictEqual(asValue(recording.body), asValue(body))) ??
      ofPath.find((recording) => isDeepStrictEqual(withoutOptions(recording.body), withoutOptions(body))) ??
      this.#recordings.find(({ name }) => name === plain);
    if (found === undefined) throw new Error(`nothing was recorded for ${path} ${body}`);
    return found;
  }
}
