/**
 * One client with one request: sends it, reads what comes at its own pace, and judges it. What it got has to be a part
 * of the right answer from its beginning, ended once, and by the truth: whole, or told or visibly broken.
 */
import { answerOf } from './answer-text.ts';
import { type Answer, HttpExchange } from './http-exchange.ts';
import type { Platform } from './platform.ts';
import { promptEnd } from './sim-engine.ts';
import type { SimProcess } from './sim-process.ts';

/** How a request ended, as its client saw it. */
export type Outcome = 'complete' | 'refused' | 'told' | 'broken' | 'left';

export interface RequestPlan {
  readonly atMs: number;
  readonly kind: 'chat' | 'completion' | 'whole chat';
  readonly model: string;
  /** Whose key it comes with. */
  readonly tenant: string;
  readonly pieces: number;
  /** It says how many tokens it takes: just as many as there are. */
  readonly isLimited: boolean;
  /** It wants no answer that another replica went on with. */
  readonly refusesContinuation: boolean;
  /** Its deadline, which the edge has to keep. */
  readonly timeoutMs: number | undefined;
  /** Bytes of the prompt, beside what it says. */
  readonly promptBytes: number;
  /** The client leaves so long after it sent the request. */
  readonly leavesAfterMs: number | undefined;
  /** It reads nothing for a while from then on. */
  readonly stallsAfterMs: number | undefined;
  readonly stallMs: number;
}

/** Told to who is one too many, and to nobody else. */
export const isCrowding = (code: string): boolean => code === 'overloaded' || code === 'tenant_limit';

export const clientWindowBytes = 64 * 1024;

const pathOf = (kind: RequestPlan['kind']): string =>
  kind === 'completion' ? '/v1/completions' : '/v1/chat/completions';

interface Choice {
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly message?: { readonly content?: string };
  readonly text?: string;
  readonly finish_reason: string | null;
}

interface Event {
  readonly id?: string;
  readonly choices?: readonly Choice[];
  readonly usage?: { readonly completion_tokens: number; readonly total_tokens: number } | null;
  readonly error?: { readonly code?: string; readonly message?: string };
}

export class SimClient {
  readonly id: string;
  readonly plan: RequestPlan;
  readonly process: SimProcess;
  readonly startedMs: number;
  endedMs: number | undefined;
  outcome: Outcome | undefined;
  /** Of an error it was told. */
  code = '';
  text = '';
  /** Of what it sent. */
  bodyBytes = 0;
  /** Of the answer. */
  readBytes = 0;
  readonly #platform: Platform;
  readonly #violate: (what: string) => void;
  readonly #expected: string;
  readonly #prompt: string;
  readonly #abort = new AbortController();
  #rest = '';
  #isDone = false;
  #finishes = 0;
  #roles = 0;
  #ids = new Set<string>();
  #resume: (() => void) | undefined;
  #isStalled = false;

  constructor(
    id: string,
    plan: RequestPlan,
    process: SimProcess,
    platform: Platform,
    violate: (what: string) => void,
  ) {
    this.id = id;
    this.plan = plan;
    this.process = process;
    this.startedMs = process.schedule.nowMs;
    this.#platform = platform;
    this.#violate = (what) => violate(`${id}: ${what}`);
    const filler = 'x'.repeat(plan.promptBytes);
    const end = plan.kind === 'completion' ? promptEnd : '';
    this.#prompt = `${id} pieces=${plan.pieces} ${filler}${end}`;
    this.#expected = answerOf(this.#prompt);
  }

  get isStream(): boolean {
    return this.plan.kind !== 'whole chat';
  }

  /** `delayMs`: to the edge; undefined: nobody listens there. */
  start(key: string, delayMs: (() => number) | undefined): void {
    if (delayMs === undefined) {
      this.#ended('broken');
      return;
    }
    const { kind, model, pieces, isLimited, refusesContinuation, timeoutMs } = this.plan;
    const { leavesAfterMs, stallsAfterMs, stallMs } = this.plan;
    const content =
      kind === 'completion'
        ? { prompt: this.#prompt }
        : { messages: [{ role: 'user', content: this.#prompt }] };
    const stream = this.isStream ? { stream: true, stream_options: { include_usage: true } } : {};
    const limit = isLimited ? { max_tokens: pieces } : {};
    const body = Buffer.from(JSON.stringify({ model, ...limit, ...content, ...stream }));
    this.bodyBytes = body.length;
    const worker = this.#platform.worker;
    const exchange = new HttpExchange(
      {
        caller: this.process,
        handler: worker.process,
        delayMs,
        windowBytes: clientWindowBytes,
        handle: worker.fetch,
        spoken: (say) => say(),
      },
      {
        url: `http://127.0.0.1:8787${pathOf(kind)}`,
        method: 'POST',
        headers: [
          ['authorization', `Bearer ${key}`],
          ['content-type', 'application/json'],
          ['x-request-id', this.id],
          ...(refusesContinuation ? [['x-cognitora-continue', 'never'] as const] : []),
          ...(timeoutMs === undefined ? [] : [['x-request-timeout-ms', String(timeoutMs)] as const]),
        ],
        body,
        signal: this.#abort.signal,
      },
    );
    if (leavesAfterMs !== undefined) this.process.after(leavesAfterMs, () => this.leave());
    if (stallsAfterMs !== undefined) this.process.after(stallsAfterMs, () => this.#stall(stallMs));
    exchange.answer.then(
      (answer) => this.#read(answer),
      () => this.#ended('broken'),
    );
  }

  leave(): void {
    if (this.outcome !== undefined) return;
    this.#ended('left');
    this.#abort.abort();
  }

  #stall(ms: number): void {
    this.#isStalled = true;
    this.process.after(ms, () => {
      this.#isStalled = false;
      this.#resume?.();
    });
  }

  async #read({ status, headers, body }: Answer): Promise<void> {
    const type = headers.find(([name]) => name === 'content-type')?.[1] ?? '';
    const isEvents = status === 200 && type.startsWith('text/event-stream');
    const decoder = new TextDecoder();
    let text = '';
    try {
      const reader = body?.getReader();
      for (;;) {
        if (this.#isStalled) {
          await new Promise<void>((accept) => {
            this.#resume = accept;
          });
        }
        const read = await reader?.read();
        if (read === undefined || read.done) break;
        if (this.outcome !== undefined) return;
        this.readBytes += read.value.length;
        const part = decoder.decode(read.value, { stream: true });
        if (isEvents) this.#events(part);
        else text += part;
      }
      if (isEvents) this.#streamEnded();
      else this.#wholeEnded(status, text, headers);
    } catch {
      // Behind [DONE] nothing is missing.
      if (this.#isDone) this.#streamEnded();
      else this.#ended('broken');
    }
  }

  /** Its own end counts once. */
  #ended(outcome: Outcome): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.endedMs = this.process.schedule.nowMs;
    this.process.note(`${this.id} ${outcome} ${this.code} ${this.text.length}`);
  }

  #events(part: string): void {
    const events = (this.#rest + part).split('\n\n');
    this.#rest = events.pop() ?? '';
    for (const event of events) {
      for (const line of event.split('\n')) {
        if (line.startsWith('data: ')) this.#event(line.slice('data: '.length));
        // An empty one too: it would be a byte that was sent twice.
        else if (!line.startsWith(':')) this.#violate(`a line that is none: ${JSON.stringify(line)}`);
      }
    }
  }

  #event(data: string): void {
    if (this.#isDone) this.#violate(`behind [DONE] came ${data.slice(0, 80)}`);
    if (this.code !== '') this.#violate(`behind an error came ${data.slice(0, 80)}`);
    if (data === '[DONE]') {
      this.#isDone = true;
      return;
    }
    let event: Event;
    try {
      event = JSON.parse(data) as Event;
    } catch {
      this.#violate(`an event that is no JSON: ${data.slice(0, 80)}`);
      return;
    }
    if (event.error !== undefined) {
      this.code = event.error.code ?? 'no code';
      return;
    }
    if (event.id !== undefined) this.#ids.add(event.id);
    for (const choice of event.choices ?? []) this.#choice(choice);
    if (event.usage) this.#usage(event.usage);
  }

  #choice({ delta, text, finish_reason }: Choice): void {
    if (delta?.role !== undefined) this.#roles += 1;
    const said = delta?.content ?? text ?? '';
    if (said !== '' && this.#finishes > 0) this.#violate(`behind its finish came ${said}`);
    this.text += said;
    if (!this.#expected.startsWith(this.text)) {
      this.#violate(`got ${JSON.stringify(this.text.slice(-40))} at ${this.text.length}`);
    }
    if (finish_reason === null) return;
    this.#finishes += 1;
    // Cut between its last token and its end, an answer with a limit has reached it.
    const isRight = finish_reason === 'stop' || (this.plan.isLimited && finish_reason === 'length');
    if (!isRight) this.#violate(`finished by ${finish_reason}`);
  }

  #usage({ completion_tokens }: { readonly completion_tokens: number }): void {
    if (completion_tokens !== this.plan.pieces) {
      this.#violate(`was counted ${completion_tokens} tokens of ${this.plan.pieces}`);
    }
  }

  #streamEnded(): void {
    if (this.outcome !== undefined) return;
    if (this.code !== '' && this.#isDone) this.#violate('was told an error and [DONE]');
    if (this.#ids.size > 1) this.#violate(`one stream had ${this.#ids.size} ids`);
    if (this.#roles > 1) this.#violate(`one stream had ${this.#roles} roles`);
    if (this.code !== '') {
      this.#ended('told');
      return;
    }
    if (!this.#isDone) this.#violate('its stream ended without [DONE] and without an error');
    if (this.text !== this.#expected) {
      this.#violate(`[DONE] behind ${this.text.length} of ${this.#expected.length} characters`);
    }
    if (this.#finishes !== 1) this.#violate(`finished ${this.#finishes} times`);
    this.#ended('complete');
  }

  #wholeEnded(status: number, text: string, headers: Answer['headers']): void {
    if (this.outcome !== undefined) return;
    let answer: Event;
    try {
      answer = JSON.parse(text) as Event;
    } catch {
      this.#violate(`${status} with what is no JSON: ${text.slice(0, 80)}`);
      return;
    }
    if (status !== 200) {
      this.code = answer.error?.code ?? answer.error?.message ?? 'no code';
      if (answer.error === undefined) this.#violate(`${status} without an error`);
      const again = Number(headers.find(([name]) => name === 'retry-after')?.[1]);
      if (isCrowding(this.code) && !(again >= 1))
        this.#violate(`${this.code} does not tell when to come again`);
      this.#ended('refused');
      return;
    }
    if (this.isStream) this.#violate('a stream was answered whole');
    const [choice] = answer.choices ?? [];
    const said = choice?.message?.content ?? choice?.text;
    if (said !== this.#expected) this.#violate(`its whole answer has ${said?.length} characters`);
    this.text = said ?? '';
    this.#ended('complete');
  }
}
