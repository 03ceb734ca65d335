/**
 * An engine with a prefix cache, as far as a client sees it: OpenAI chats in vLLM's shape, four characters a token,
 * pages of 16 tokens, and `cached_tokens` for what it saw before. One that lies reports what a test tells it to. No
 * template can be asked of it, so its prompts are written as most engines write theirs.
 */
import { pause } from '../harness/until.ts';
import { FakeEngine, parseBody, sendEvents, sendJson } from './fake-engine.ts';

const charsPerPage = 64;
const charsPerToken = 4;
/** A prompt of 5,000 characters takes 50 ms without any cache. */
const prefillMsPerChar = 0.01;

export interface CachingEngine {
  readonly engine: FakeEngine;
  /** What it reports in the place of the truth; undefined for the truth. */
  lie: number | undefined;
}

/** The prompt, as a template would write it. */
const promptOf = (messages: unknown): string =>
  (Array.isArray(messages) ? (messages as { role: string; content: string }[]) : [])
    .map(({ role, content }) => `<|${role}|>${content}`)
    .join('\n');

export const cachingEngine = (model: string): CachingEngine => {
  const pages = new Set<string>();
  const cachedCharsOf = (prompt: string): number => {
    let chars = 0;
    while (chars + charsPerPage < prompt.length && pages.has(prompt.slice(0, chars + charsPerPage))) {
      chars += charsPerPage;
    }
    return chars;
  };
  const remember = (prompt: string): void => {
    for (let end = charsPerPage; end <= prompt.length; end += charsPerPage) pages.add(prompt.slice(0, end));
  };
  const engine = new FakeEngine(async ({ received, response }) => {
    if (received.path === '/v1/models') {
      const card = { id: model, object: 'model', created: 1, owned_by: 'vllm' };
      sendJson(response, 200, JSON.stringify({ object: 'list', data: [card] }));
      return;
    }
    const body = parseBody(received.body);
    if (received.path !== '/v1/chat/completions' || body === undefined) {
      sendJson(response, 404, JSON.stringify({ detail: 'Not Found' }));
      return;
    }
    const prompt = promptOf(body.messages);
    const cached = caching.lie ?? cachedCharsOf(prompt) / charsPerToken;
    // The truth, whatever it reports.
    await pause((prompt.length - cachedCharsOf(prompt)) * prefillMsPerChar);
    remember(prompt);
    const promptTokens = Math.ceil(prompt.length / charsPerToken);
    const usage = {
      ...{ prompt_tokens: promptTokens, completion_tokens: 1, total_tokens: promptTokens + 1 },
      prompt_tokens_details: { cached_tokens: cached },
    };
    const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model };
    const choice = { index: 0, delta: { role: 'assistant', content: 'Ja.' }, finish_reason: 'stop' };
    const events: object[] = [{ ...head, choices: [choice] }];
    const { include_usage: isAsked } = (body.stream_options ?? {}) as { include_usage?: boolean };
    if (isAsked === true) events.push({ ...head, choices: [], usage });
    sendEvents(
      response,
      events.map((event) => JSON.stringify(event)),
    );
  });
  const caching: CachingEngine = { engine, lie: undefined };
  return caching;
};
