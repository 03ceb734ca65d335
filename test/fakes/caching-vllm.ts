/**
 * vLLM with a prefix cache that tells of itself, from the bytes of 0.32 (recordings of it are in
 * `node-agent/testing/kv-fixtures`): chats, `/tokenize` with token strings, `/detokenize`, `/reset_prefix_cache`,
 * events in maps over a ZeroMQ PUB, and a ROUTER that replays them. A word is a token, a space before it included.
 */
import { Publisher, Router } from 'zeromq';
import { type Answer, FakeEngine, parseBody, sendEvents, sendJson } from './fake-engine.ts';
import { Float, type Packable, pack } from './msgpack.ts';
import { mapEvents, PrefixCache } from './prefix-cache.ts';

const topic = 'kv-events';
const endOfReplay = Buffer.alloc(8, 0xff);
const reply = 'So it is.';

const sequenceOf = (sequence: number): Buffer => {
  const frame = Buffer.alloc(8);
  frame.writeBigInt64BE(BigInt(sequence));
  return frame;
};

/** Bytes as vocabularies of this kind write them. */
const inAlphabet = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const isShown = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      const before = byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 94 : 67;
      return String.fromCharCode(isShown ? byte : 256 + before);
    })
    .join('');

class Vocabulary {
  readonly #ids = new Map<string, number>();
  readonly #texts: string[] = [];

  encode(text: string): readonly number[] {
    return (text.match(/<\|im_(?:start|end)\|>| ?[^\s<]+|\s|</g) ?? []).map((word) => this.#idOf(word));
  }

  decode(ids: readonly number[]): string {
    return ids.map((id) => this.#texts[id] ?? '').join('');
  }

  strings(ids: readonly number[]): readonly string[] {
    return ids.map((id) => inAlphabet(this.#texts[id] ?? ''));
  }

  #idOf(word: string): number {
    const known = this.#ids.get(word);
    if (known !== undefined) return known;
    this.#ids.set(word, this.#texts.length);
    return this.#texts.push(word) - 1;
  }
}

const promptOf = (messages: unknown): string => {
  const turns = Array.isArray(messages) ? (messages as { role: string; content?: string }[]) : [];
  const written = turns.map(({ role, content }) => `<|im_start|>${role}\n${content ?? ''}<|im_end|>\n`);
  return `${written.join('')}<|im_start|>assistant\n`;
};

export class CachingVllm implements AsyncDisposable {
  readonly engine: FakeEngine;
  readonly #model: string;
  readonly #vocabulary = new Vocabulary();
  readonly #cache: PrefixCache;
  readonly #publisher = new Publisher({ linger: 0 });
  readonly #router = new Router({ linger: 0 });
  readonly #published: Buffer[] = [];

  constructor(model: string, blocksMax: number) {
    this.#model = model;
    this.#cache = new PrefixCache(blocksMax);
    this.engine = new FakeEngine((exchange) => this.#answer(exchange));
  }

  async start(): Promise<this> {
    await this.engine.start();
    await this.#publisher.bind('tcp://127.0.0.1:*');
    await this.#router.bind('tcp://127.0.0.1:*');
    void this.#replay();
    return this;
  }

  get events(): { readonly live: string; readonly replay: string } {
    return { live: this.#publisher.lastEndpoint ?? '', replay: this.#router.lastEndpoint ?? '' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#publisher.close();
    this.#router.close();
    await this.engine[Symbol.asyncDispose]();
  }

  async #publish(events: readonly Packable[]): Promise<void> {
    if (events.length === 0) return;
    const payload = pack([new Float(1_761_000_000.5), events, 0]);
    const sequence = this.#published.push(payload) - 1;
    await this.#publisher.send([topic, sequenceOf(sequence), payload]);
  }

  async #replay(): Promise<void> {
    for await (const [client = '', , first] of this.#router) {
      const from = Number(Buffer.from(first ?? '').readBigInt64BE());
      for (const [sequence, payload] of this.#published.entries()) {
        if (sequence >= from) await this.#router.send([client, '', topic, sequenceOf(sequence), payload]);
      }
      await this.#router.send([client, '', '', endOfReplay, '']);
    }
  }

  readonly #answer: Answer = async ({ received, response }) => {
    const body = parseBody(received.body) ?? {};
    const say = (answer: object): void => sendJson(response, 200, JSON.stringify(answer));
    switch (received.path) {
      case '/health':
        say({});
        return;
      case '/v1/models':
        say({
          object: 'list',
          data: [{ id: this.#model, object: 'model', created: 1, owned_by: 'vllm', max_model_len: 4096 }],
        });
        return;
      case '/tokenize': {
        const tokens = this.#vocabulary.encode(promptOf(body.messages));
        const strings = body.return_token_strs === true ? this.#vocabulary.strings(tokens) : null;
        say({ count: tokens.length, max_model_len: 4096, tokens, token_strs: strings });
        return;
      }
      case '/detokenize':
        say({ prompt: this.#vocabulary.decode(body.tokens as readonly number[]) });
        return;
      case '/reset_prefix_cache':
        this.#cache.clear();
        await this.#publish([{ type: 'AllBlocksCleared' }]);
        say({ success: true });
        return;
      case '/v1/chat/completions':
        sendEvents(response, await this.#chat(body.messages));
        return;
      default:
        sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
    }
  };

  async #chat(messages: unknown): Promise<readonly string[]> {
    const prompt = this.#vocabulary.encode(promptOf(messages));
    const said = this.#vocabulary.encode(`${reply}<|im_end|>`);
    const cached = this.#cache.cachedTokens(prompt);
    await this.#publish(mapEvents(this.#cache.store([...prompt, ...said])));
    const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: this.#model };
    const delta = { role: 'assistant', content: reply };
    const usage = {
      ...{ prompt_tokens: prompt.length, total_tokens: prompt.length + said.length },
      ...{ completion_tokens: said.length, prompt_tokens_details: { cached_tokens: cached } },
    };
    return [
      JSON.stringify({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: 'stop' }] }),
      JSON.stringify({ ...head, choices: [], usage }),
    ];
  }
}
