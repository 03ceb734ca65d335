/**
 * TensorRT-LLM's `trtllm-serve` with a prefix cache that tells of itself, from its documents, never run here: chats,
 * and `POST /kv_cache_events`, which tells each event once. Blocks of 32 tokens, named by numbers of 64 bits; the last
 * token of a sequence is in none.
 */
import { CachingChat } from './caching-chat.ts';
import { type Answer, FakeEngine, sendJson } from './fake-engine.ts';
import type { CacheChange } from './prefix-cache.ts';

const blockTokens = 32;

/** JSON with numbers that JavaScript's own would round. */
const jsonOf = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `#${part}` : part)).replaceAll(
    /"#(\d+)"/g,
    '$1',
  );

export class CachingTrtllm implements AsyncDisposable {
  readonly engine: FakeEngine;
  readonly chat: CachingChat;
  readonly #model: string;
  #events: object[] = [];
  #nextId = 0;

  constructor(model: string, blocksMax: number) {
    this.#model = model;
    this.chat = new CachingChat({
      ...{ model, blocksMax, blockTokens, keepsLast: false },
      toolParts: { name: null, description: null, parameters: null, strict: null },
      onChange: async (change) => this.#tell(change),
    });
    this.engine = new FakeEngine((exchange) => this.#answer(exchange));
    this.#say({ type: 'created', num_blocks_per_cache_level: [blocksMax, 0] });
  }

  async start(): Promise<this> {
    await this.engine.start();
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.engine[Symbol.asyncDispose]();
  }

  #say(data: object): void {
    this.#events.push({ event_id: this.#nextId, data, window_size: 4096 });
    this.#nextId += 1;
  }

  #tell({ removed, stored }: CacheChange): void {
    if (removed.length > 0) this.#say({ type: 'removed', block_hashes: removed });
    if (stored === undefined) return;
    const { names, parent, tokens } = stored;
    const blocks = names.map((name, at) => ({
      ...{ type: 'stored_block', block_hash: name, cache_level: 0, priority: 35 },
      tokens: tokens.slice(at * blockTokens, (at + 1) * blockTokens).map((token) => ({
        ...{ type: 'unique_token', token_id: token, token_extra_id: 0 },
      })),
    }));
    this.#say({ type: 'stored', parent_hash: parent, blocks });
  }

  readonly #answer: Answer = async (exchange) => {
    const { received, response } = exchange;
    switch (received.path) {
      case '/health':
        response.end();
        return;
      case '/v1/models':
        sendJson(
          response,
          200,
          JSON.stringify({
            object: 'list',
            data: [{ id: this.#model, object: 'model', created: 1, owned_by: 'tensorrt_llm' }],
          }),
        );
        return;
      case '/kv_cache_events':
        sendJson(response, 200, jsonOf(this.#events.splice(0)));
        return;
      case '/v1/chat/completions':
        await this.chat.answer(exchange);
        return;
      default:
        sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
    }
  };
}
