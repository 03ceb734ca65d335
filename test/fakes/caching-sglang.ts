/**
 * SGLang with a prefix cache that tells of itself, from its sources, never run here: chats, `/model_info`, `/tokenize`
 * that takes prompts alone and gives numbers, events in arrays by position over a ZeroMQ PUB, pages of 16 tokens.
 */
import { Publisher } from 'zeromq';
import { CachingChat } from './caching-chat.ts';
import { chatmlFolder } from './chatml.ts';
import { type Answer, FakeEngine, parseBody, sendJson } from './fake-engine.ts';
import { Float, pack } from './msgpack.ts';
import type { CacheChange } from './prefix-cache.ts';

const blockTokens = 16;

export class CachingSglang implements AsyncDisposable {
  readonly engine: FakeEngine;
  readonly chat: CachingChat;
  /** What `/tokenize` gives in the place of the truth. */
  tokenises: ((prompt: string) => readonly number[]) | undefined;
  readonly #model: string;
  readonly #publisher = new Publisher({ linger: 0 });
  #sequence = 0n;

  constructor(model: string, blocksMax: number) {
    this.#model = model;
    this.chat = new CachingChat({
      ...{ model, blocksMax, blockTokens, keepsLast: true },
      toolParts: { description: null, name: null, parameters: null, strict: false },
      onChange: (change) => this.#publish(change),
    });
    this.engine = new FakeEngine((exchange) => this.#answer(exchange));
  }

  async start(): Promise<this> {
    await this.engine.start();
    await this.#publisher.bind('tcp://127.0.0.1:*');
    return this;
  }

  get events(): string {
    return this.#publisher.lastEndpoint ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#publisher.close();
    await this.engine[Symbol.asyncDispose]();
  }

  async #publish({ removed, stored }: CacheChange): Promise<void> {
    const gone = removed.length === 0 ? [] : [['BlockRemoved', [...removed]]];
    const kept =
      stored === undefined
        ? []
        : [['BlockStored', stored.names, stored.parent, stored.tokens, blockTokens, null, 'GPU']];
    if (gone.length + kept.length === 0) return;
    const frame = Buffer.alloc(8);
    frame.writeBigUInt64BE(this.#sequence);
    this.#sequence += 1n;
    await this.#publisher.send(['kv-events', frame, pack([new Float(1_761_000_000.5), [...gone, ...kept]])]);
  }

  readonly #answer: Answer = async (exchange) => {
    const { received, response } = exchange;
    const say = (answer: object): void => sendJson(response, 200, JSON.stringify(answer));
    switch (received.path) {
      case '/health':
        response.end();
        return;
      case '/v1/models':
        say({
          object: 'list',
          data: [{ id: this.#model, object: 'model', created: 1, owned_by: 'sglang', root: this.#model }],
        });
        return;
      case '/model_info':
        say({ model_path: chatmlFolder, tokenizer_path: chatmlFolder, is_generation: true });
        return;
      case '/tokenize': {
        const { prompt } = parseBody(received.body) ?? {};
        if (typeof prompt !== 'string') {
          sendJson(response, 400, JSON.stringify({ object: 'error', message: 'prompt: Field required' }));
          return;
        }
        const tokens = (this.tokenises ?? ((text) => this.chat.tokenizer.encode(text)))(prompt);
        say({ tokens, count: tokens.length, max_model_len: 4096 });
        return;
      }
      case '/v1/chat/completions':
        await this.chat.answer(exchange);
        return;
      default:
        sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
    }
  };
}
