/**
 * An engine with slots as far as moves see it, for tests: answers questions as llama-server did (see the recorded ones
 * in `slots.test.ts`), keeps one text a slot, a token a character, and writes states as plain files. Its failures are
 * switched on by a test.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import type { Answer, Ask } from '../src/engines/ask.ts';

interface Slot {
  text: string;
  lastTask: number;
  isBusy: boolean;
}

/** What such an engine may do wrong, or be. */
export interface Failures {
  /** Says that all went well. */
  restoresNothing?: boolean;
  savesElsewhere?: boolean;
  adapters?: string;
  /** Every slot is at work. */
  isFull?: boolean;
  /** No such paths. */
  hasNoSlots?: boolean;
}

export interface SlotEngineOptions {
  readonly directory: string;
  readonly modelPath: string;
  readonly slots?: number;
  readonly build?: string;
  readonly failures?: Failures;
}

const shared = (left: string, right: string): number => {
  let at = 0;
  while (at < left.length && at < right.length && left[at] === right[at]) at += 1;
  return at;
};

export class SlotEngine {
  readonly slots: Slot[];
  readonly failures: Failures;
  /** Paths that were asked, and the files named there. */
  readonly asked: string[] = [];
  readonly #options: SlotEngineOptions;
  #tasks = 0;

  constructor(options: SlotEngineOptions) {
    this.#options = options;
    this.failures = options.failures ?? {};
    const count = options.slots ?? 2;
    this.slots = Array.from({ length: count }, () => ({ text: '', lastTask: -1, isBusy: false }));
  }

  readonly ask: Ask = async (path, body) => {
    this.asked.push(path);
    const answer = this.#answer(path, body ?? {});
    const text = JSON.stringify(answer ?? { error: { code: 404, message: 'File Not Found' } });
    return { status: answer === undefined ? 404 : 200, text, record: jsonRecordIn(text) } satisfies Answer;
  };

  /** A request that this engine served in a slot: what its cache holds then. */
  serve(slot: number, text: string): number {
    const at = this.#slot(slot);
    const cached = shared(at.text, text);
    this.#tasks += 1;
    Object.assign(at, { text, lastTask: this.#tasks });
    return Math.min(cached, text.length - 1);
  }

  restores(): number {
    return this.asked.filter((path) => path.endsWith('action=restore')).length;
  }

  #slot(id: number): Slot {
    const slot = this.slots[id];
    if (slot === undefined) throw new Error(`no slot ${id}`);
    return slot;
  }

  #answer(path: string, body: JsonRecord): unknown {
    if (path === '/lora-adapters') return jsonOf(this.failures.adapters ?? '[]');
    if (this.failures.hasNoSlots) return undefined;
    if (path === '/props') return this.#properties();
    if (path === '/slots') return this.slots.map((slot, id) => this.#view(slot, id));
    if (path === '/v1/completions') return this.#complete(String(body.prompt), Number(body.id_slot));
    const [, id, action] = /^\/slots\/(\d+)\?action=(\w+)$/.exec(path) ?? [];
    return id === undefined ? undefined : this.#act(Number(id), String(action), String(body.filename));
  }

  #properties(): unknown {
    const { build = 'b9021-test', modelPath } = this.#options;
    return {
      default_generation_settings: { n_ctx: 2048 },
      total_slots: this.slots.length,
      model_path: modelPath,
      build_info: build,
    };
  }

  #view({ text, lastTask, isBusy }: Slot, id: number): unknown {
    const processing = isBusy || this.failures.isFull === true;
    const used = lastTask < 0 ? {} : { id_task: lastTask, n_prompt_tokens: text.length };
    return { id, n_ctx: 2048, speculative: false, is_processing: processing, ...used };
  }

  #complete(prompt: string, id: number): unknown {
    const cached = this.serve(id, prompt);
    const usage = { prompt_tokens: prompt.length, completion_tokens: 1, total_tokens: prompt.length + 1 };
    return { usage: { ...usage, prompt_tokens_details: { cached_tokens: cached } } };
  }

  #act(id: number, action: string, filename: string): unknown {
    const slot = this.#slot(id);
    const directory = this.failures.savesElsewhere ? '/nowhere' : this.#options.directory;
    const tokens = slot.text.length;
    if (action === 'erase') {
      slot.text = '';
      return { id_slot: id, n_erased: tokens };
    }
    if (action === 'save') {
      if (!this.failures.savesElsewhere) writeFileSync(join(directory, filename), slot.text);
      return { id_slot: id, filename, n_saved: tokens, n_written: tokens };
    }
    const text = readFileSync(join(directory, filename), 'utf8');
    if (!this.failures.restoresNothing) slot.text = text;
    return { id_slot: id, filename, n_restored: text.length, n_read: text.length };
  }
}

const jsonOf = (text: string): unknown => jsonRecordIn(`{"it":${text}}`)?.it;
