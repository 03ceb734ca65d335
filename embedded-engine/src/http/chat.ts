/** `POST /v1/chat/completions`: from a parsed request to an answer, whole or streamed. */
import { randomUUID } from 'node:crypto';
import type { RenderChat } from '../generation/chat-template.ts';
import { type PlacedLogprob, type Session, withSequence } from '../generation/generate.ts';
import type { Constraint } from '../generation/model.ts';
import { nativeSeed } from '../generation/seed.ts';
import { type ChatRequest, parseChatRequest } from '../openai/chat-request.ts';
import {
  type AnswerHead,
  type ChatChoice,
  chatAnswer,
  chatChunk,
  chatLogprobs,
  chatUsageChunk,
} from '../openai/chat-response.ts';
import { checkTokens } from '../openai/sampling.ts';
import { type Usage, usageOf } from '../openai/usage.ts';
import { checkModel, type Engine, promptTokens, sequenceFor, tokensMaxFor } from './engine.ts';
import { type Exchange, openEventStream, readBody, sendJson } from './exchange.ts';

export async function chatCompletions(engine: Engine, exchange: Exchange): Promise<void> {
  const request = parseChatRequest(await readBody(exchange));
  checkModel(engine, request.model);
  const sequence = sequenceFor(engine, request);
  const { loaded } = engine;
  checkTokens(request.sampling, { size: loaded.vocabulary.size, isEnd: loaded.isEnd });
  // A grammar that can't be built must be refused before the request waits for a sequence.
  const constraint = await loaded.compile(request.format);
  const tokens = promptTokens(engine, promptOf(loaded.renderChat, request), 'messages');
  const head: AnswerHead = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(engine.clock.unixSeconds()),
    model: engine.servedName,
  };
  engine.counters.requests += 1;
  const prompt = { tokens, salt: request.salt, sequence };
  await withSequence(engine, prompt, exchange.signal, async (session) => {
    const work = { engine, exchange, request, constraint, tokens, session, head };
    if (request.stream) await streamed(work);
    else await whole(work);
  });
}

/** What the answer is written behind: the beginning of it, if the request has that. */
function promptOf(renderChat: RenderChat, { messages, isBegun }: ChatRequest): string {
  if (!isBegun) return renderChat(messages, true);
  return renderChat(messages.slice(0, -1), true) + (messages.at(-1)?.content ?? '');
}

interface Work {
  readonly engine: Engine;
  readonly exchange: Exchange;
  readonly request: ChatRequest;
  readonly constraint: Constraint;
  readonly tokens: readonly number[];
  readonly session: Session;
  readonly head: AnswerHead;
}

type OnDelta = (delta: { text: string; logprobs: readonly PlacedLogprob[] }) => void;

async function runChoice(work: Work, index: number, onDelta: OnDelta) {
  const { constraint, engine, request, session, tokens } = work;
  const { seed } = request.sampling;
  return await session.choice(
    {
      sampling: request.sampling,
      seed: seed === undefined ? undefined : nativeSeed(seed, index),
      tokensMax: tokensMaxFor(engine, request.maxTokens ?? engine.chatTokensDefault, tokens),
      stops: [...request.stops, ...constraint.stops],
      topLogprobs: request.topLogprobs,
      grammar: constraint.start(),
    },
    onDelta,
  );
}

function usage(work: Work, completion: number): Usage {
  return usageOf({ prompt: work.tokens.length, completion, cached: work.session.cachedTokens });
}

async function whole(work: Work): Promise<void> {
  const { engine, exchange, head, request } = work;
  const choices: ChatChoice[] = [];
  let completion = 0;
  for (let index = 0; index < request.choices; index++) {
    let text = '';
    const logprobs: PlacedLogprob[] = [];
    const result = await runChoice(work, index, (delta) => {
      text += delta.text;
      logprobs.push(...delta.logprobs);
    });
    completion += result.completionTokens;
    choices.push({
      text,
      logprobs: request.topLogprobs === undefined ? undefined : logprobs,
      finishReason: result.finishReason,
    });
  }
  sendJson(exchange, 200, chatAnswer(head, choices, usage(work, completion), engine.loaded.vocabulary));
}

async function streamed(work: Work): Promise<void> {
  const { engine, exchange, head, request } = work;
  const { vocabulary } = engine.loaded;
  const stream = openEventStream(exchange);
  let completion = 0;
  for (let index = 0; index < request.choices; index++) {
    const first = { role: 'assistant', content: '' } as const;
    stream.send(chatChunk(head, { index, delta: first }, request.includeUsage));
    const result = await runChoice(work, index, (delta) => {
      const logprobs = chatLogprobs(
        request.topLogprobs === undefined ? undefined : delta.logprobs,
        vocabulary,
      );
      stream.send(chatChunk(head, { index, delta: { content: delta.text }, logprobs }, request.includeUsage));
    });
    completion += result.completionTokens;
    const last = { index, delta: {}, finishReason: result.finishReason };
    stream.send(chatChunk(head, last, request.includeUsage));
  }
  if (request.includeUsage) stream.send(chatUsageChunk(head, usage(work, completion)));
  stream.end();
}
