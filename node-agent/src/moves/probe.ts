/**
 * Whether an engine's saved state is worth anything, found out each time it comes up: a prompt is computed, saved,
 * erased, restored, and asked for with another end. Some builds restore nothing and say that all went well; some save
 * where the agent does not look. Measures on the way what computing and restoring cost.
 */
import { readUsageObject } from '@cognitora/protocol/undo';
import type { Ask } from '../engines/ask.ts';
import { type EngineFacts, fingerprintOf, isPartOfModel, modelFileHash } from './fingerprint.ts';
import type { MoveFiles } from './move-files.ts';
import type { MoveRates } from './move-rates.ts';
import { Slots, slotForRestore } from './slots.ts';

export interface ProbeOptions {
  readonly ask: Ask;
  readonly files: MoveFiles;
  readonly served: string;
  readonly rates: MoveRates;
  readonly monotonicMs: () => number;
}

/** What a replica's states are of; or that they are not to be moved, `why` for a person. */
export type Probed =
  | { readonly kind: 'moves'; readonly fingerprint: Uint8Array; readonly facts: EngineFacts }
  | { readonly kind: 'never'; readonly why: string }
  /** The engine had no time for it. */
  | { readonly kind: 'not now'; readonly why: string };

const never = (why: string): Probed => ({ kind: 'never', why });

/** The same on every host and in every version: what is saved of it is part of the fingerprint. About 300 tokens. */
const probeText = 'What was saved on one host can be restored on another one, or it cannot. '.repeat(18);
/** Of the prompt's tokens that must count as cached: all but those of the other end. */
const cachedShareMin = 0.8;

interface Completed {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly ms: number;
}

class Probe {
  readonly #options: ProbeOptions;
  readonly #slots: Slots;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#slots = new Slots(options.ask);
  }

  async run(): Promise<Probed> {
    const props = await this.#slots.facts();
    if (props === undefined) return never('the engine does not tell its slots, model file and build');
    if (await this.#slots.hasAdapters()) return never('the engine has adapters, which no state says');
    if (isPartOfModel(props.modelPath)) return never(`the model's file ${props.modelPath} is one of several`);
    const model = await modelFileHash(props.modelPath).catch(() => undefined);
    if (model === undefined) return never(`the model's file ${props.modelPath} cannot be read`);
    const slot = slotForRestore(await this.#slots.list(), new Set());
    if (slot === undefined) return { kind: 'not now', why: 'no slot is free' };
    try {
      const moved = await this.#options.files.withName((name) => this.#try(slot, name));
      if (typeof moved === 'string') return never(moved);
      const { slots, contextTokens, build } = props;
      const facts = { model, slots, contextTokens, build, ...moved };
      return { kind: 'moves', fingerprint: fingerprintOf(facts), facts };
    } finally {
      await this.#slots.erase(slot);
    }
  }

  /** Text: why not. */
  async #try(slot: number, name: string): Promise<string | Pick<EngineFacts, 'probeTokens' | 'probeBytes'>> {
    const { files, monotonicMs, rates } = this.#options;
    await this.#slots.erase(slot);
    const first = await this.#complete(slot, 'Once.');
    if (first === undefined) return 'the engine takes no completion for a slot';
    rates.prefill.saw(first.promptTokens - first.cachedTokens, first.ms);
    const saved = await this.#slots.save(slot, name);
    if (saved === undefined) return 'the engine does not save slots';
    if ((await files.bytesOf(name)) !== saved.bytes) return 'the engine saves slots in another directory';
    await this.#slots.erase(slot);
    const startedMs = monotonicMs();
    const restored = await this.#slots.restore(slot, name);
    if (restored?.tokens !== saved.tokens) return 'the engine does not restore what it saved';
    rates.insert.saw(saved.bytes, monotonicMs() - startedMs);
    rates.state.saw(saved.bytes, saved.tokens);
    const second = await this.#complete(slot, 'Twice.');
    if (second === undefined || second.cachedTokens < cachedShareMin * second.promptTokens) {
      return `the engine computes anew what it restored (${second?.cachedTokens ?? 0} tokens were cached)`;
    }
    return { probeTokens: saved.tokens, probeBytes: saved.bytes };
  }

  async #complete(slot: number, end: string): Promise<Completed | undefined> {
    const { ask, monotonicMs, served } = this.#options;
    const startedMs = monotonicMs();
    const asked = { model: served, prompt: probeText + end, max_tokens: 1, temperature: 0, id_slot: slot };
    const { record, status } = await ask('/v1/completions', asked);
    const ms = monotonicMs() - startedMs;
    if (status !== 200 || record === undefined) return undefined;
    const usage = readUsageObject(record.usage);
    if (usage === undefined) return undefined;
    return { promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens ?? 0, ms };
  }
}

/** Never rejects: an engine that stops answering had no time. */
export const probeMoves = (options: ProbeOptions): Promise<Probed> =>
  new Probe(options).run().catch((thrown) => ({ kind: 'not now', why: String(thrown) }));
