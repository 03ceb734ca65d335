/**
 * An engine's slots over HTTP: which there are, and their state saved to, restored from and erased by name, in the one
 * directory that engine and agent share. Says what came back and decides nothing; what does not read as expected is
 * undefined, as if the engine knew no such thing.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { isRecord, jsonValueIn } from '@cognitora/protocol/shape';
import type { Answer, Ask } from '../engines/ask.ts';

/** More slots than any engine has. */
const slotsMax = 1_024;

export interface SlotState {
  readonly id: number;
  readonly isBusy: boolean;
  /** Grows with each use; -1 for a slot that was never used. */
  readonly lastTask: number;
  /** What it holds; undefined where the engine does not say. */
  readonly tokens: number | undefined;
}

export interface ServerFacts {
  readonly slots: number;
  readonly contextTokens: number;
  readonly modelPath: string;
  readonly build: string;
}

/** A state that went to a file, or came from one. */
export interface Moved {
  readonly tokens: number;
  readonly bytes: number;
}

const whole = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

const stateOf = (item: unknown): SlotState | undefined => {
  const id = isRecord(item) ? whole(item.id) : undefined;
  if (!isRecord(item) || id === undefined) return undefined;
  const tokens = whole(item.n_prompt_tokens);
  // One that does not say whether it is busy is.
  return { id, isBusy: item.is_processing !== false, lastTask: whole(item.id_task) ?? -1, tokens };
};

export class Slots {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async list(): Promise<readonly SlotState[]> {
    const answer = await this.#ask('/slots');
    const items = answer.status === 200 ? jsonValueIn(utf8(answer.text)) : undefined;
    if (!Array.isArray(items)) return [];
    return (items as readonly unknown[]).slice(0, slotsMax).flatMap((item) => stateOf(item) ?? []);
  }

  async facts(): Promise<ServerFacts | undefined> {
    const { status, record } = await this.#ask('/props');
    const settings = record?.default_generation_settings;
    const slots = whole(record?.total_slots);
    const contextTokens = isRecord(settings) ? whole(settings.n_ctx) : undefined;
    const modelPath = text(record?.model_path);
    const build = text(record?.build_info);
    if (status !== 200 || !slots || !contextTokens || modelPath === undefined || build === undefined) {
      return undefined;
    }
    return { slots, contextTokens, modelPath, build };
  }

  /** Whether adapters change what the model computes, which no state says. */
  async hasAdapters(): Promise<boolean> {
    const { status, text: adapters } = await this.#ask('/lora-adapters');
    return status === 200 && adapters.trim() !== '[]';
  }

  async save(slot: number, filename: string): Promise<Moved | undefined> {
    const answer = await this.#ask(`/slots/${slot}?action=save`, { filename });
    return moved(answer, 'n_saved', 'n_written');
  }

  async restore(slot: number, filename: string): Promise<Moved | undefined> {
    const answer = await this.#ask(`/slots/${slot}?action=restore`, { filename });
    return moved(answer, 'n_restored', 'n_read');
  }

  async erase(slot: number): Promise<void> {
    await this.#ask(`/slots/${slot}?action=erase`, {});
  }
}

const moved = ({ status, record }: Answer, tokensName: string, bytesName: string): Moved | undefined => {
  const tokens = whole(record?.[tokensName]);
  const bytes = whole(record?.[bytesName]);
  return status === 200 && tokens && bytes ? { tokens, bytes } : undefined;
};

/** The free slot that was not used for longest; undefined: none is free. */
export const slotForRestore = (
  slots: readonly SlotState[],
  reserved: ReadonlySet<number>,
): number | undefined => {
  let best: SlotState | undefined;
  for (const slot of slots) {
    if (slot.isBusy || reserved.has(slot.id)) continue;
    if (best === undefined || slot.lastTask < best.lastTask) best = slot;
  }
  return best?.id;
};

/** An engine leaves out the last token, which nothing was computed from. */
const lastTokens = 2;

/** Whether as many tokens are what an answer with its prompt left behind. */
export const isStateOf = (tokens: number, answered: number): boolean =>
  tokens <= answered && tokens >= answered - lastTokens;

/** The free slot that holds an answer with its prompt: by its tokens, else the one used last. */
export const slotOfAnswer = (slots: readonly SlotState[], answered: number): number | undefined => {
  let best: SlotState | undefined;
  for (const slot of slots) {
    if (slot.isBusy || (slot.tokens !== undefined && !isStateOf(slot.tokens, answered))) continue;
    if (best === undefined || slot.lastTask > best.lastTask) best = slot;
  }
  return best?.id;
};
