/**
 * One kind of engine as a fake that lives: it loads, serves, counts what it serves, publishes events where the engine
 * does, and fails in one of the ways in which engines fail. Each kind is described in a file beside this one from its
 * documented bytes; nothing of the product is imported.
 */
import { type Answer, type Exchange, FakeEngine, sendJson, sseHeaders } from '../fake-engine.ts';

const failures = [
  'none',
  /** Its own error, in its own words. */
  'status 500',
  /** Takes the request and never answers. */
  'hang',
  /** Begins a stream and never goes on. */
  'stall',
  /** Takes its time for an answer that is whole in the end: a word each tenth of a second, 20 unless said. */
  'slow',
  /** Breaks the connection off within an event. */
  'truncated',
  /** A page for people, as a proxy in front of it sends. */
  'wrong type',
] as const;
export type Failure = (typeof failures)[number];

export const isFailure = (word: string): word is Failure => (failures as readonly string[]).includes(word);

const looks = ['answered', 'unanswered', 'status 503'] as const;
/** What becomes of questions that are no request: health, models, metrics. */
export type Looks = (typeof looks)[number];

const isLooks = (word: string): word is Looks => (looks as readonly string[]).includes(word);

/** A PUT with a word of those lists as its body: what a test in another process says. */
const failurePath = '/fake/failure';
const looksPath = '/fake/looks';

/** What a fake shows of itself in its metrics. */
export interface Counts {
  running: number;
  /** Never of this fake's own doing: requests of others, as a test says. */
  waiting: number;
  served: number;
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
}

export interface Serving {
  readonly models: readonly string[];
  readonly counts: Readonly<Counts>;
  /** A key that requests must carry. */
  readonly apiKey: string | undefined;
}

export interface Kind {
  readonly name: string;
  /** Of one request, for the counters. */
  readonly usage: { readonly prompt: number; readonly cached: number; readonly generated: number };
  /**
   * What it does before its model is there: not listen, say 503 with this body, or listen and hold what needs the
   * model.
   */
  readonly whileLoading: 'no listener' | 'holds requests' | { readonly says503: string };
  readonly error500: string;
  /** Every path but those of `whileLoading`. */
  readonly answer: (serving: Serving) => Answer;
  /** Options as its `--help` shows them. */
  readonly help: string;
  /** Bytes of one message of events, after the request of that number. */
  readonly kvEvent?: (request: number) => Uint8Array;
}

export interface FakeOptions {
  readonly models: readonly string[];
  readonly port?: number;
  readonly apiKey?: string;
  /** Where events are published, for kinds that do. */
  readonly events?: string;
  /** The model is there when this resolves. */
  readonly loaded?: Promise<void>;
  /** Of an answer that is `slow`. */
  readonly slowWords?: number;
}

const isInference = (path: string): boolean => /^\/v1\/(?:chat\/)?completions$/.test(path);

type Fail = (kind: Kind, exchange: Exchange, slowWords: number) => Promise<void>;

const fail: Readonly<Record<Exclude<Failure, 'none'>, Fail>> = {
  'status 500': async ({ error500 }, { response }) => sendJson(response, 500, error500),
  hang: (_, { hungUp }) => hungUp,
  stall: async (_, { response, hungUp }) => {
    response.writeHead(200, sseHeaders);
    response.write(
      'data: {"id":"x","choices":[{"index":0,"delta":{"content":"On"},"finish_reason":null}]}\n\n',
    );
    await hungUp;
  },
  slow: async (_, { response, hungUp }, words) => {
    response.writeHead(200, sseHeaders);
    const over = hungUp.then(() => true);
    for (let word = 0; word < words; word += 1) {
      const finish = word === words - 1 ? '"stop"' : 'null';
      const choice = `{"index":0,"delta":{"content":"${word} "},"finish_reason":${finish}}`;
      response.write(`data: {"id":"x","object":"chat.completion.chunk","choices":[${choice}]}\n\n`);
      const pause = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 100));
      if (await Promise.race([over, pause])) return;
    }
    response.end('data: [DONE]\n\n');
  },
  truncated: async (_, { response }) => {
    response.writeHead(200, sseHeaders);
    await new Promise((sent) => response.write('data: {"id":"x","choices":[{"index":0,"del', sent));
    response.destroy();
  },
  'wrong type': async (_, { response }) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<html><body>It works!</body></html>');
  },
};

export class LivingFake implements AsyncDisposable {
  readonly kind: Kind;
  readonly counts: Counts = {
    ...{ running: 0, waiting: 0, served: 0 },
    ...{ promptTokens: 0, cachedTokens: 0, generatedTokens: 0 },
  };
  /** How inference fails from now on. */
  failure: Failure = 'none';
  looks: Looks = 'answered';
  /** Requests of which the other side hung up before their end. */
  aborted = 0;
  readonly #options: FakeOptions;
  readonly #http: FakeEngine;
  readonly #answer: Answer;
  readonly #loaded: Promise<void>;
  #isLoaded = false;
  #publish: (payload: Uint8Array) => Promise<void> = async () => {};
  #closeEvents = (): void => {};

  constructor(kind: Kind, options: FakeOptions) {
    this.kind = kind;
    this.#options = options;
    this.#answer = kind.answer({ models: options.models, counts: this.counts, apiKey: options.apiKey });
    this.#http = new FakeEngine((exchange) => this.#serve(exchange), options.port);
    this.#loaded = (options.loaded ?? Promise.resolve()).then(() => {
      this.#isLoaded = true;
    });
  }

  get url(): string {
    return this.#http.url;
  }

  get received(): FakeEngine['received'] {
    return this.#http.received;
  }

  /** Resolves when it listens: at once, or once its model is there. */
  async start(): Promise<this> {
    if (this.kind.whileLoading === 'no listener') await this.#loaded;
    if (this.kind.kvEvent !== undefined && this.#options.events !== undefined) await this.#openEvents();
    await this.#http.start();
    return this;
  }

  /** As a crash. A later `start` listens at the same port. */
  async stop(): Promise<void> {
    this.#closeEvents();
    await this.#http.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #openEvents(): Promise<void> {
    const { Publisher } = await import('zeromq');
    const socket = new Publisher({ linger: 0 });
    await socket.bind(this.#options.events ?? '');
    let sequence = 0n;
    this.#publish = async (payload) => {
      const frame = Buffer.alloc(8);
      frame.writeBigUInt64BE(sequence);
      sequence += 1n;
      await socket.send(['kv-events', frame, payload]);
    };
    this.#closeEvents = () => socket.close();
  }

  async #serve(exchange: Exchange): Promise<void> {
    const { whileLoading, usage } = this.kind;
    const { received, response, hungUp } = exchange;
    if (!this.#isLoaded && typeof whileLoading === 'object') {
      sendJson(response, 503, whileLoading.says503);
      return;
    }
    if (received.path.startsWith('/fake/')) {
      sendJson(response, this.#told(received.path, received.body.toString()) ? 200 : 400, '{}');
      return;
    }
    if (!isInference(received.path)) {
      await this.#lookedAt(exchange);
      return;
    }
    this.counts.running += 1;
    let isOver = false;
    response.once('close', () => {
      if (!isOver) this.counts.running -= 1;
      isOver = true;
    });
    void hungUp.then(() => {
      this.aborted += 1;
    });
    if (whileLoading === 'holds requests') await this.#loaded;
    if (this.failure !== 'none') {
      await fail[this.failure](this.kind, exchange, this.#options.slowWords ?? 20);
      return;
    }
    this.counts.served += 1;
    this.counts.promptTokens += usage.prompt;
    this.counts.cachedTokens += usage.cached;
    this.counts.generatedTokens += usage.generated;
    await this.#answer(exchange);
    const event = this.kind.kvEvent?.(this.counts.served);
    if (event !== undefined) await this.#publish(event);
  }
  /** False: no word of ours. */
  #told(path: string, word: string): boolean {
    if (path === failurePath && isFailure(word)) this.failure = word;
    else if (path === looksPath && isLooks(word)) this.looks = word;
    else return false;
    return true;
  }

  async #lookedAt(exchange: Exchange): Promise<void> {
    if (this.looks === 'answered') await this.#answer(exchange);
    else if (this.looks === 'status 503') sendJson(exchange.response, 503, this.kind.error500);
    else await exchange.hungUp;
  }
}
