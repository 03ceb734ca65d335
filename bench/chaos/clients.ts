/**
 * A process of clients: the official SDK, as many streams at once as asked for, each watched for what a client can see
 * of a fault. Never retries: what is counted is what the edge did.
 */
import { messageOf } from '@cognitora/protocol/errors';
import OpenAI, { APIConnectionError, APIError } from 'openai';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { serveCommands, tellParent } from '../machine/worker-process.ts';
import { seededRandom } from '../sim/random.ts';
import type { ClientPlan, StreamRecord } from './client-messages.ts';
import { type Failure, judge } from './outcome.ts';
import { answerMark, answerTo, type Message, promptOf, tokensOf } from './spoken-text.ts';

/** A client that saw no chunk for this long would have given up: nothing in the product may take so long. */
const hungMs = 45_000;
const tailBytes = 512;
const refusedMs = 500;
const story = 'You tell of ships and of the sea, in as many words as you are asked for. '.repeat(8);

interface Job {
  readonly requestId: string;
  readonly prompt: string;
  /** Undefined: a raw completion. */
  readonly messages: readonly Message[] | undefined;
  readonly tokensMax: number | undefined;
  readonly asksUsage: boolean;
}

const jobOf = ({ name, seed, isReal, words: [min, max] }: ClientPlan, index: number): Job => {
  const random = seededRandom(seed + index * 7919);
  const words = min + Math.floor(random() * (max - min + 1));
  const question = `Say ${words} words of story ${seed}/${index}.`;
  const requestId = `${name}-${index}`;
  if (isReal) {
    return { requestId, prompt: question, messages: undefined, tokensMax: words, asksUsage: false };
  }
  const user = { role: 'user', content: question };
  const turns: readonly Message[] = [
    { role: 'user', content: 'Are you there?' },
    { role: 'assistant', content: 'Aye.' },
  ];
  const messages =
    random() < 0.2 ? undefined : [{ role: 'system', content: story }, ...(random() < 0.5 ? [] : turns), user];
  const prompt = messages === undefined ? `${story}${question}${answerMark}` : promptOf(messages);
  const limit = random();
  // A third ends at its limit, a third has one that it does not reach, a third has none: but a completion without one
  // ends at sixteen tokens.
  const isLimited = limit < 2 / 3 || messages === undefined;
  const tokensMax = limit < 1 / 3 ? Math.ceil(words / 2) : isLimited ? words + 10 : undefined;
  return { requestId, prompt, messages, tokensMax, asksUsage: random() < 0.5 };
};

/** What of a chunk counts here, of chats and of completions. */
interface Chunk {
  readonly id: string;
  readonly created: number;
  readonly text: string;
  readonly hasRole: boolean;
  readonly finishReason: string | undefined;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number } | undefined;
}

const open = async function* (
  client: OpenAI,
  model: string,
  { messages, prompt, tokensMax, asksUsage, requestId }: Job,
  signal: AbortSignal,
): AsyncGenerator<Chunk> {
  const common = {
    ...{ model, stream: true as const, temperature: 0 },
    ...(tokensMax === undefined ? {} : { max_tokens: tokensMax }),
    ...(asksUsage ? { stream_options: { include_usage: true } } : {}),
  };
  const options = { signal, headers: { 'x-request-id': requestId } };
  if (messages === undefined) {
    const stream = await client.completions.create({ ...common, prompt }, options);
    for await (const { id, created, choices, usage } of stream) {
      const [choice] = choices;
      const finishReason = choice?.finish_reason ?? undefined;
      yield {
        id,
        created,
        text: choice?.text ?? '',
        hasRole: false,
        finishReason,
        usage: usage ?? undefined,
      };
    }
    return;
  }
  const asked = messages as OpenAI.ChatCompletionMessageParam[];
  const stream = await client.chat.completions.create({ ...common, messages: asked }, options);
  for await (const { id, created, choices, usage } of stream) {
    const [choice] = choices;
    const finishReason = choice?.finish_reason ?? undefined;
    const { content, role } = choice?.delta ?? {};
    const hasRole = role !== undefined;
    yield { id, created, text: content ?? '', hasRole, finishReason, usage: usage ?? undefined };
  }
};

/** The SDK does not say whether `[DONE]` came: this looks at the bytes beside it. */
const watchedFetch = () => {
  let tail = '';
  const watch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init);
    if (response.body === null) return response;
    const decoder = new TextDecoder();
    const look = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        tail = (tail + decoder.decode(bytes, { stream: true })).slice(-tailBytes);
        controller.enqueue(bytes);
      },
    });
    return new Response(response.body.pipeThrough(look), response);
  };
  return { watch, isDone: (): boolean => /(?:^|\n)data: \[DONE\]\n\n/.test(tail) };
};

const failureOf = (thrown: unknown, isHung: boolean): Failure => {
  if (isHung) return { kind: 'hung', code: 'hung', message: `no chunk for ${hungMs} ms` };
  const message = messageOf(thrown);
  if (thrown instanceof APIError && !(thrown instanceof APIConnectionError)) {
    const code = String(thrown.code ?? thrown.status ?? thrown.message);
    return { kind: thrown.status === undefined ? 'event' : 'status', code, message };
  }
  return { kind: 'connection', code: message, message };
};

/** All that one client sees of its stream. */
class Watch {
  readonly #startedUs = monotonicUs();
  #lastUs = this.#startedUs;
  ttftMs = Number.NaN;
  longestGapMs = 0;
  gapBeganUs = 0;
  text = '';
  words = 0;
  finishReason: string | undefined;
  usage: Chunk['usage'];
  readonly oddities = new Set<string>();
  #id: string | undefined;
  #created = 0;
  #roles = 0;

  add({ id, created, text, hasRole, finishReason, usage }: Chunk): void {
    const nowUs = monotonicUs();
    if (this.#id === undefined) this.ttftMs = (nowUs - this.#startedUs) / 1e3;
    else if ((nowUs - this.#lastUs) / 1e3 > this.longestGapMs) {
      this.longestGapMs = (nowUs - this.#lastUs) / 1e3;
      this.gapBeganUs = this.#lastUs;
    }
    this.#lastUs = nowUs;
    if (this.#id !== undefined && id !== this.#id) this.oddities.add('a second id');
    if (this.#id !== undefined && created !== this.#created) this.oddities.add('a second time of creation');
    this.#id ??= id;
    this.#created = created;
    if (hasRole) this.#roles += 1;
    if (this.#roles > 1) this.oddities.add('a second role');
    if (this.finishReason !== undefined && (text !== '' || finishReason !== undefined))
      this.oddities.add('more behind the finish reason');
    if (this.usage !== undefined && usage !== undefined) this.oddities.add('a second usage');
    this.text += text;
    if (text !== '') this.words += 1;
    this.finishReason ??= finishReason;
    this.usage ??= usage;
  }

  /** Of a whole stream: does it count what came? */
  checkUsage({ prompt, asksUsage }: Job): void {
    if (asksUsage !== (this.usage !== undefined)) {
      this.oddities.add(asksUsage ? 'no usage' : 'a usage that nobody asked for');
    } else if (this.usage !== undefined) {
      const { prompt_tokens: promptTokens, completion_tokens: completionTokens } = this.usage;
      if (promptTokens !== tokensOf(prompt)) this.oddities.add('a usage with other prompt tokens');
      if (completionTokens !== this.words) this.oddities.add('a usage with other completion tokens');
    }
  }
}

const runOne = async (plan: ClientPlan, job: Job): Promise<StreamRecord> => {
  const { baseUrl: baseURL, apiKey, isReal } = plan;
  const { watch: fetchOf, isDone } = watchedFetch();
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: hungMs, fetch: fetchOf });
  const seen = new Watch();
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), hungMs);
  let failure: Failure | undefined;
  try {
    for await (const chunk of open(client, plan.model, job, giveUp.signal)) {
      timer.refresh();
      seen.add(chunk);
    }
    // The SDK ends an aborted stream without a word.
    if (giveUp.signal.aborted) failure = failureOf(undefined, true);
  } catch (thrown) {
    failure = failureOf(thrown, giveUp.signal.aborted);
  } finally {
    clearTimeout(timer);
  }
  const { text, finishReason, words, ttftMs, longestGapMs, gapBeganUs } = seen;
  const expected = isReal ? undefined : answerTo(job.prompt, job.tokensMax);
  const outcome = judge({ text, finishReason, isDone: isDone(), failure, expected });
  if (outcome === 'right' && !isReal) seen.checkUsage(job);
  return {
    ...{ requestId: job.requestId, outcome, words, ttftMs, longestGapMs, gapBeganUs },
    ...{ endedUs: monotonicUs(), oddities: [...seen.oddities] },
    ...(failure === undefined ? {} : { code: failure.code, message: failure.message }),
    ...(isReal ? { text } : {}),
  };
};

const run = async (plan: ClientPlan): Promise<readonly StreamRecord[]> => {
  const startedUs = monotonicUs();
  const mayStart = (): boolean => monotonicUs() - startedUs < plan.againMs * 1e3;
  const records: StreamRecord[] = [];
  let next = 0;
  const slot = async (at: number): Promise<void> => {
    await delayMs((plan.spreadMs * at) / plan.streams);
    do {
      const job = jobOf(plan, next);
      next += 1;
      const record = await runOne(plan, job);
      records.push(record);
      tellParent(record.outcome);
      // As a client does that was refused.
      if (record.outcome !== 'right') await delayMs(refusedMs);
    } while (mayStart());
  };
  await Promise.all(Array.from({ length: plan.streams }, (_, at) => slot(at)));
  return records;
};

serveCommands<ClientPlan, readonly StreamRecord[]>(run);
