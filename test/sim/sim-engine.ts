/**
 * A simulated engine behind HTTP, with vLLM's paths and shapes: lists its model, tells its health, answers chats and
 * completions at a pace of its own as `answer-text.ts` says. Can load, refuse, break off, hang and die. Counts what it
 * works on and for whom.
 */
import { piecesAfter } from './answer-text.ts';
import type { Chance } from './random.ts';
import type { Later } from './schedule.ts';
import type { SimProcess } from './sim-process.ts';

export interface EngineRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Where an answer goes. */
export interface EngineReply {
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** False: no more until `hasRoom`. */
  data(part: Uint8Array): boolean;
  end(): void;
  brokeOff(): void;
}

/** An answer on its way, as its reader acts on it. */
export interface EngineAnswer {
  /** The reader closed the connection. */
  leave(): void;
  hasRoom(): void;
}

/** How an engine treats requests now. */
export type Mood = 'well' | 'refuses' | 'hangs' | 'breaks off' | 'slow';

interface Pace {
  readonly firstMs: () => number;
  readonly nextMs: () => number;
}

export interface Work {
  readonly requestId: string;
  readonly sinceMs: number;
  /** Of the answer's text, said by another engine before. */
  readonly emittedChars: number;
  /** Of its answer so far. */
  saidBytes: number;
}

interface ChatBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly max_tokens?: number;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly continue_final_message?: boolean;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly prompt?: string;
}

/** Who stands still looks so often whether it goes on. */
const hangLookMs = 100;

/** Stands between a completion's prompt and its answer. */
export const promptEnd = '|';

interface Asked {
  readonly prompt: string;
  readonly emitted: string;
  readonly isChat: boolean;
}

const askedOf = (path: string, body: ChatBody): Asked => {
  if (path === '/v1/completions') {
    const prompt = body.prompt ?? '';
    const end = prompt.indexOf(promptEnd) + 1;
    return { prompt: prompt.slice(0, end), emitted: prompt.slice(end), isChat: false };
  }
  const messages = body.messages ?? [];
  const isContinued = body.continue_final_message === true;
  const asked = isContinued ? messages.slice(0, -1) : messages;
  const emitted = isContinued ? (messages.at(-1)?.content ?? '') : '';
  return { prompt: asked.map(({ content }) => content).join('\n'), emitted, isChat: true };
};

/** An answer that is being written. */
class Writing implements EngineAnswer {
  readonly #engine: SimEngine;
  readonly #reply: EngineReply;
  readonly #write: Iterator<string>;
  readonly work: Work;
  /** It has a slot; else it waits for one, in the order in which it came. */
  isRunning = false;
  #timer: Later | undefined;
  #waits = false;
  isOver = false;

  constructor(engine: SimEngine, reply: EngineReply, work: Work, events: Iterator<string>) {
    this.#engine = engine;
    this.#reply = reply;
    this.work = work;
    this.#write = events;
  }

  run(): void {
    this.isRunning = true;
    this.#next(this.#engine.pace.firstMs());
  }

  leave(): void {
    this.#over();
  }

  hasRoom(): void {
    if (!this.#waits || this.isOver) return;
    this.#waits = false;
    this.#next(0);
  }

  breakOff(): void {
    if (this.isOver) return;
    this.#over();
    this.#reply.brokeOff();
  }

  #over(): void {
    this.isOver = true;
    this.#timer?.cancel();
    this.#engine.over(this);
  }

  #next(ms: number): void {
    this.#timer = this.#engine.process.after(ms, () => this.#step());
  }

  #step(): void {
    if (this.isOver) return;
    if (this.#engine.mood === 'hangs') {
      this.#next(hangLookMs);
      return;
    }
    if (this.#engine.mood === 'breaks off' && this.#engine.chance.isHit(0.2)) {
      this.breakOff();
      return;
    }
    const { done, value } = this.#write.next();
    if (done === true) {
      this.#over();
      this.#reply.end();
      return;
    }
    const part = Buffer.from(value);
    this.work.saidBytes += part.length;
    if (part.length === 0 || this.#reply.data(part)) this.#next(this.#engine.pace.nextMs());
    else this.#waits = true;
  }
}

export interface SimEngineOptions {
  readonly origin: string;
  readonly model: string;
  readonly slots: number | undefined;
  readonly paddingBytes: number | undefined;
  readonly pace: Pace;
  readonly process: SimProcess;
  readonly chance: Chance;
  readonly onWork: (work: Work) => void;
}

export class SimEngine {
  readonly origin: string;
  readonly model: string;
  /** As many as it works on at once; undefined: all of them. The others wait, without bound. */
  readonly slots: number | undefined;
  readonly chance: Chance;
  readonly pace: Pace;
  /** Behind the text of each event of a stream. */
  readonly #padding: object;
  readonly writing = new Set<Writing>();
  /** Kept connections break when it dies. */
  readonly onConnectionsLost = new Set<() => void>();
  /** Hears of each request that it is given. */
  readonly onWork: (work: Work) => void;
  readonly process: SimProcess;
  mood: Mood = 'well';
  isListening = true;
  isLoading = false;
  /** Requests so far; an agent's own have no id. */
  given = 0;

  constructor({ origin, model, slots, paddingBytes, pace, process, chance, onWork }: SimEngineOptions) {
    this.#padding = paddingBytes === undefined ? {} : { obfuscation: 'x'.repeat(paddingBytes) };
    this.onWork = onWork;
    this.origin = origin;
    this.model = model;
    this.slots = slots;
    this.pace = {
      firstMs: () => pace.firstMs() * (this.mood === 'slow' ? 20 : 1),
      nextMs: () => pace.nextMs() * (this.mood === 'slow' ? 20 : 1),
    };
    this.process = process;
    this.chance = chance;
  }

  /** What it works on. */
  get work(): readonly Work[] {
    return [...this.writing].map(({ work }) => work);
  }

  over(writing: Writing): void {
    this.writing.delete(writing);
    this.#fill();
  }

  #fill(): void {
    const { slots = Number.POSITIVE_INFINITY } = this;
    let running = this.#running;
    for (const writing of this.writing) {
      if (running >= slots) return;
      if (writing.isRunning) continue;
      writing.run();
      running += 1;
    }
  }

  get #running(): number {
    let running = 0;
    for (const { isRunning } of this.writing) if (isRunning) running += 1;
    return running;
  }

  /** As vLLM tells it. */
  get #metrics(): string {
    const running = this.#running;
    const label = `{engine="0",model_name="${this.model}"}`;
    const gauge = (name: string, value: number): string =>
      `# TYPE vllm:${name} gauge\nvllm:${name}${label} ${value}.0\n`;
    return (
      gauge('num_requests_running', running) + gauge('num_requests_waiting', this.writing.size - running)
    );
  }

  crash(): void {
    this.process.note('crashes');
    this.isListening = false;
    for (const writing of [...this.writing]) writing.breakOff();
    for (const lost of [...this.onConnectionsLost]) lost();
  }

  /** Listens again at once, and serves once its model is loaded. */
  restart(loadingMs: number): void {
    this.process.note('starts');
    this.isListening = true;
    this.isLoading = true;
    this.process.after(loadingMs, () => {
      this.isLoading = false;
    });
  }

  handle(request: EngineRequest, reply: EngineReply): EngineAnswer {
    const { method, path, headers } = request;
    if (headers['x-request-id'] !== undefined) this.given += 1;
    if (this.mood === 'hangs' && method === 'GET') return this.#onceWell(request, reply);
    if (this.isLoading) return answered(reply, 503, { error: { message: 'loading' } });
    if (method === 'GET') {
      if (path === '/v1/models') return answered(reply, 200, { data: [{ id: this.model, created: 1 }] });
      if (path === '/metrics' && this.slots !== undefined) return answeredText(reply, this.#metrics);
      return answered(reply, path === '/health' ? 200 : 404, {});
    }
    if (path !== '/v1/chat/completions' && path !== '/v1/completions') return answered(reply, 404, {});
    if (this.mood === 'refuses') return answered(reply, 503, { error: { message: 'the engine is busy' } });
    return this.#write(path, request, reply);
  }

  /** What it is asked while it stands still it answers when it goes on, if somebody still waits for that. */
  #onceWell(request: EngineRequest, reply: EngineReply): EngineAnswer {
    const leave = (): void => {
      timer.cancel();
      this.onConnectionsLost.delete(lost);
    };
    const lost = (): void => {
      leave();
      reply.brokeOff();
    };
    const look = (): Later =>
      this.process.after(hangLookMs, () => {
        if (this.mood === 'hangs') {
          timer = look();
          return;
        }
        leave();
        this.handle(request, reply);
      });
    let timer = look();
    this.onConnectionsLost.add(lost);
    return { leave, hasRoom: () => {} };
  }

  #write(path: string, { headers, body }: EngineRequest, reply: EngineReply): EngineAnswer {
    const fields = JSON.parse(Buffer.from(body).toString()) as ChatBody;
    const asked = askedOf(path, fields);
    const requestId = headers['x-request-id'] ?? '';
    const work = {
      ...{ requestId, sinceMs: this.process.schedule.nowMs, emittedChars: asked.emitted.length },
      saidBytes: 0,
    };
    this.onWork(work);
    if (requestId !== '') this.process.note(`serves ${requestId} behind ${asked.emitted.length} characters`);
    const pieces = piecesAfter(asked.prompt, asked.emitted).slice(0, fields.max_tokens);
    const isWhole = asked.emitted + pieces.join('') === piecesAfter(asked.prompt, '').join('');
    const shape = {
      asked,
      pieces,
      finish: isWhole ? 'stop' : 'length',
      id: `${this.process.name}-${requestId}`,
      padding: this.#padding,
    };
    const isStream = fields.stream === true;
    const type = isStream ? 'text/event-stream' : 'application/json';
    const events = isStream ? streamOf(shape, fields) : wholeOf(shape, fields);
    const writing = new Writing(this, headed(reply, type), work, events);
    this.writing.add(writing);
    this.#fill();
    return writing;
  }
}

const nobody: EngineAnswer = { leave: () => {}, hasRoom: () => {} };

/** Sends the head with the first byte, as some engines do. */
const headed = (reply: EngineReply, type: string): EngineReply => {
  let isHeadSent = false;
  const head = (): void => {
    if (!isHeadSent) reply.head(200, { 'content-type': type });
    isHeadSent = true;
  };
  return {
    ...reply,
    data: (part) => {
      head();
      return reply.data(part);
    },
    end: () => {
      head();
      reply.end();
    },
  };
};

const answeredText = (reply: EngineReply, text: string): EngineAnswer => {
  reply.head(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  reply.data(Buffer.from(text));
  reply.end();
  return nobody;
};

const answered = (reply: EngineReply, status: number, value: object): EngineAnswer => {
  reply.head(status, { 'content-type': 'application/json' });
  reply.data(Buffer.from(JSON.stringify(value)));
  reply.end();
  return nobody;
};

interface Shape {
  readonly asked: Asked;
  readonly pieces: readonly string[];
  readonly finish: string;
  readonly id: string;
  readonly padding: object;
}

const usageOf = ({ asked, pieces }: Shape) => {
  const prompt_tokens = Math.ceil((asked.prompt.length + asked.emitted.length) / 6);
  return {
    prompt_tokens,
    completion_tokens: pieces.length,
    total_tokens: prompt_tokens + pieces.length,
  };
};

function* streamOf(shape: Shape, fields: ChatBody): Generator<string> {
  const { asked, pieces, finish, id, padding } = shape;
  const object = asked.isChat ? 'chat.completion.chunk' : 'text_completion';
  const event = (choices: readonly object[], more: object = {}): string =>
    `data: ${JSON.stringify({ id, object, created: 1, model: fields.model, choices, ...more })}\n\n`;
  const choice = (text: string, finish_reason: string | null): object =>
    asked.isChat
      ? { index: 0, delta: { content: text }, logprobs: null, finish_reason }
      : { index: 0, text, logprobs: null, finish_reason };
  if (asked.isChat) {
    yield event([
      { index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null },
    ]);
  }
  for (const piece of pieces) yield event([choice(piece, null)], padding);
  yield event([choice('', finish)]);
  if (fields.stream_options?.include_usage === true) yield event([], { usage: usageOf(shape) });
  yield 'data: [DONE]\n\n';
}

function* wholeOf(shape: Shape, fields: ChatBody): Generator<string> {
  const { asked, pieces, finish, id } = shape;
  const text = pieces.join('');
  // The time that writing it takes; nothing is sent meanwhile.
  for (let piece = 1; piece < pieces.length; piece += 1) yield '';
  const said = asked.isChat ? { message: { role: 'assistant', content: text } } : { text };
  const object = asked.isChat ? 'chat.completion' : 'text_completion';
  const choices = [{ index: 0, ...said, logprobs: null, finish_reason: finish }];
  yield JSON.stringify({ id, object, created: 1, model: fields.model, choices, usage: usageOf(shape) });
}
