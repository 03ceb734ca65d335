/**
 * `POST /v1/completions`: prompts one after another, choices of each one after another, whole or streamed.
 */
import { randomUUID } from 'node:crypto';
import { type PlacedLogprob, withSequence } from '../generation/generate.ts';
import { nativeSeed } from '../generation/seed.ts';
import * as limits from '../limits.ts';
import {
  type CompletionRequest,
  type PromptInput,
  parseCompletionRequest,
} from '../openai/completion-request.ts';
import {
  type CompletionChoice,
  completionAnswer,
  completionLogprobs,
} from '../openai/completion-response.ts';
import { checkTokens } from '../openai/sampling.ts';
import { usageOf } from '../openai/usage.ts';
import { checkModel, type Engine, promptTokens, sequenceFor, tokensMaxFor } from './engine.ts';
import { type EventStream, type Exchange, openEventStream, readBody, sendJson } from './exchange.ts';

type Emit = (choice: CompletionChoice & { index: number }) => void;

interface Work {
  readonly engine: Engine;
  readonly request: CompletionRequest;
  readonly signal: AbortSignal;
  readonly counts: { prompt: number; completion: number; cached: number };
  /** Called when the first prompt has a sequence: from then on the answer is on its way. */
  readonly begin: () => void;
  readonly emit: Emit;
}

export async function completions(engine: Engine, exchange: Exchange): Promise<void> {
  const request = parseCompletionRequest(await readBody(exchange));
  checkModel(engine, request.model);
  sequenceFor(engine, request);
  const { loaded } = engine;
  checkTokens(request.sampling, { size: loaded.vocabulary.size, isEnd: loaded.isEnd });
  const prompts = request.prompts.map((input) => ({ input, tokens: promptTokens(engine, input, 'prompt') }));
  const head = {
    id: `cmpl-${randomUUID()}`,
    created: Math.floor(engine.clock.unixSeconds()),
    model: engine.servedName,
  };
  engine.counters.requests += 1;
  const counts = { prompt: 0, completion: 0, cached: 0 };
  const collected: Collected[] = [];
  let stream: EventStream | undefined;
  const noUsage = request.includeUsage ? null : undefined;
  const work: Work = {
    engine,
    request,
    signal: exchange.signal,
    counts,
    begin: () => {
      if (request.stream) stream ??= openEventStream(exchange);
    },
    emit: (choice) => {
      if (stream) stream.send(completionAnswer(head, [choice], noUsage));
      else collect(collected, choice);
    },
  };
  for (const [at, prompt] of prompts.entries()) await runPrompt(work, prompt, at * request.choices);
  if (stream) {
    if (request.includeUsage) stream.send(completionAnswer(head, [], usageOf(counts)));
    stream.end();
  } else {
    sendJson(exchange, 200, completionAnswer(head, collected, usageOf(counts)));
  }
}

async function runPrompt(
  work: Work,
  prompt: { input: PromptInput; tokens: readonly number[] },
  firstIndex: number,
): Promise<void> {
  const { counts, engine, request } = work;
  const { tokens } = prompt;
  const { vocabulary } = engine.loaded;
  const sequence = sequenceFor(engine, request);
  await withSequence(engine, { tokens, salt: request.salt, sequence }, work.signal, async (session) => {
    work.begin();
    counts.prompt += tokens.length;
    counts.cached += session.cachedTokens;
    for (let choice = 0; choice < request.choices; choice++) {
      const index = firstIndex + choice;
      const wire = (entries: readonly PlacedLogprob[]) =>
        completionLogprobs(request.topLogprobs === undefined ? undefined : entries, vocabulary);
      if (request.echo) {
        work.emit({ index, text: echoText(engine, prompt), logprobs: wire([]), finishReason: null });
      }
      const { seed } = request.sampling;
      const result = await session.choice(
        {
          sampling: request.sampling,
          seed: seed === undefined ? undefined : nativeSeed(seed, choice),
          tokensMax: tokensMaxFor(engine, request.maxTokens ?? limits.completionTokensDefault, tokens),
          stops: request.stops,
          topLogprobs: request.topLogprobs,
          grammar: undefined,
        },
        (delta) => work.emit({ index, text: delta.text, logprobs: wire(delta.logprobs), finishReason: null }),
      );
      counts.completion += result.completionTokens;
      work.emit({ index, text: '', logprobs: null, finishReason: result.finishReason });
    }
  });
}

function echoText(engine: Engine, prompt: { input: PromptInput; tokens: readonly number[] }): string {
  if (typeof prompt.input === 'string') return prompt.input;
  const { vocabulary } = engine.loaded;
  return Buffer.concat(prompt.tokens.map((token) => vocabulary.textBytes(token))).toString('utf8');
}

type Collected = CompletionChoice & { readonly index: number };

/** Joins the pieces of one choice; pieces come in order, choice after choice. */
function collect(collected: Collected[], piece: Collected): void {
  const last = collected.at(-1);
  if (last?.index !== piece.index) {
    collected.push(piece);
    return;
  }
  collected[collected.length - 1] = {
    index: last.index,
    text: last.text + piece.text,
    logprobs: joinLogprobs(last.logprobs, piece.logprobs),
    finishReason: piece.finishReason ?? last.finishReason,
  };
}

type Logprobs = CompletionChoice['logprobs'];

function joinLogprobs(left: Logprobs, right: Logprobs): Logprobs {
  if (!left || !right) return left ?? right;
  return {
    tokens: left.tokens.concat(right.tokens),
    token_logprobs: left.token_logprobs.concat(right.token_logprobs),
    top_logprobs: left.top_logprobs.concat(right.top_logprobs),
    text_offset: left.text_offset.concat(right.text_offset),
  };
}
