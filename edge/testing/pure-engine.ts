/**
 * Engines whose answer is a pure function of (prompt, text told): one that has said some of its text goes on with the
 * rest of it, in the shape in which a real one was recorded, or is documented. Only tests import it.
 */
import { readFileSync } from 'node:fs';
import type { InferencePath } from '@cognitora/protocol/openai';
import type { JsonRecord } from '@cognitora/protocol/shape';

const fakes = new URL('../../test/fakes/', import.meta.url);
const chatPath = '/v1/chat/completions';

interface Choice {
  delta?: { content?: string | null; role?: string | null };
  text?: string;
  finish_reason: string | null;
}
interface Event {
  id: string;
  created: number;
  choices: Choice[];
  usage?: JsonRecord | null;
}

/** One engine's way to write a stream. */
export interface PureEngine {
  readonly name: string;
  readonly path: InferencePath;
  /** Its events: before the text, the last with text alone, the one that ends the choice, and the one with counts. */
  readonly opening: readonly Event[];
  readonly textEvent: Event;
  readonly finish: Event;
  /** Undefined: the event that ends the choice has them. */
  readonly usage: Event | undefined;
}

const textOf = ({ choices: [choice] }: Event): string => choice?.delta?.content ?? choice?.text ?? '';

const shapeOf = (name: string, path: InferencePath, stream: string): PureEngine => {
  const events = [...stream.matchAll(/^data: ?(\{.*\})\r?$/gm)].map(
    ([, json]) => JSON.parse(json ?? '') as Event,
  );
  const firstText = events.findIndex((event) => textOf(event) !== '');
  const find = (is: (event: Event) => boolean): Event => {
    const found = events.findLast(is);
    if (found === undefined) throw new Error(`${name}: an event is missing`);
    return found;
  };
  return {
    ...{ name, path, opening: events.slice(0, firstText) },
    textEvent: find((event) => textOf(event) !== '' && event.choices[0]?.finish_reason === null),
    finish: find(({ choices }) => typeof choices[0]?.finish_reason === 'string'),
    usage: events.find(({ choices }) => choices.length === 0),
  };
};

const fileOf = (name: string, path: InferencePath, file: string): PureEngine =>
  shapeOf(name, path, readFileSync(new URL(file, fakes), 'utf8'));

export const pureEngines: readonly PureEngine[] = [
  fileOf('vLLM 0.32, chat', chatPath, 'recordings/vllm/chat-stream-usage.http'),
  fileOf('vLLM 0.32, completion', '/v1/completions', 'recordings/vllm/completion-stream-usage.http'),
  fileOf('llama.cpp, chat', chatPath, 'recordings/llama-server/chat-stream-usage.http'),
  fileOf('llama.cpp, completion', '/v1/completions', 'recordings/llama-server/completion-stream-usage.http'),
  fileOf('SGLang, chat', chatPath, 'hand-written/sglang-chat.usage.sse'),
  fileOf('an odd one', chatPath, 'hand-written/odd-sse.usage.sse'),
];

export interface Asked {
  /** What it will have said in the end, token by token. */
  readonly tokens: readonly string[];
  /** What it is told that it said. */
  readonly told: string;
  readonly tokensMax: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Tells one answer's names from another's. */
  readonly serial: number;
}

/** The tokens that are not told, the first of them without what is told of it. */
const restOf = ({
  tokens,
  told,
}: Asked): { readonly rest: readonly string[]; readonly toldTokens: number } => {
  let at = 0;
  for (const [index, token] of tokens.entries()) {
    if (at + token.length > told.length) {
      return { rest: [token.slice(told.length - at), ...tokens.slice(index + 1)], toldTokens: index };
    }
    at += token.length;
  }
  return { rest: [], toldTokens: tokens.length };
};

const withText = (event: Event, text: string): Event => {
  const [choice] = event.choices;
  if (choice === undefined) return event;
  if (choice.delta === undefined) return { ...event, choices: [{ ...choice, text }] };
  return { ...event, choices: [{ ...choice, delta: { ...choice.delta, content: text } }] };
};

const withFinish = (event: Event, finishReason: string): Event => ({
  ...event,
  choices: event.choices.map((choice) => ({ ...choice, finish_reason: finishReason })),
});

/** Its whole answer, as it stands on the wire. */
export const answerOf = (engine: PureEngine, asked: Asked): string => {
  if (!asked.tokens.join('').startsWith(asked.told)) throw new Error(`told what nobody said: ${asked.told}`);
  const { rest, toldTokens } = restOf(asked);
  const said = rest.slice(0, asked.tokensMax);
  const prompt = asked.promptTokens + toldTokens;
  const counts = {
    prompt_tokens: prompt,
    completion_tokens: said.length,
    total_tokens: prompt + said.length,
  };
  const usage = { ...counts, prompt_tokens_details: { cached_tokens: Math.min(prompt, asked.cachedTokens) } };
  const reason = said.length === asked.tokensMax ? 'length' : 'stop';
  // Some end the choice in the event of the last token, others in one of its own.
  const endsWithText = textOf(engine.finish) !== '' && said.length > 0;
  const texts = endsWithText ? said.slice(0, -1) : said;
  const ending = endsWithText ? withText(engine.finish, said.at(-1) ?? '') : withText(engine.finish, '');
  const events = [
    ...engine.opening,
    ...texts.map((text) => withText(engine.textEvent, text)),
    ...(engine.usage === undefined
      ? [{ ...withFinish(ending, reason), usage }]
      : [withFinish(ending, reason), { ...engine.usage, usage }]),
  ].map((event) => ({ ...event, id: `answer-${asked.serial}`, created: 1_790_000_000 + asked.serial }));
  return [...events.map((event) => JSON.stringify(event)), '[DONE]']
    .map((data) => `data: ${data}\n\n`)
    .join('');
};
