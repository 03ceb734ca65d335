/**
 * What a region remembers of models when nobody serves them: when each was last seen, so that "gone for a moment" and
 * "never heard of" differ, and how many tokens its prompts have for their bytes. Bounded: the oldest is forgotten.
 * Pure; time comes in with each call.
 */
import { modelMemoryMsMax, modelsRememberedMax } from '@cognitora/protocol/limits';
import type { ModelCard } from '@cognitora/protocol/link';
import { TokenScale } from './token-scale.ts';

export class ModelMemory {
  readonly #seenAtMs = new Map<string, number>();
  /** Of the models that were served last. */
  readonly #scales = new Map<string, TokenScale>();

  saw(models: readonly ModelCard[], nowMs: number): void {
    for (const { id } of models) renew(this.#seenAtMs, id, nowMs);
  }

  /** It was served not long ago, or within so long. */
  isRecent(model: string, nowMs: number, withinMs = modelMemoryMsMax): boolean {
    const seenAtMs = this.#seenAtMs.get(model);
    return seenAtMs !== undefined && nowMs - seenAtMs <= withinMs;
  }

  /** As it was learned before, if it is remembered. */
  scaleOf(model: string): TokenScale {
    const scale = this.#scales.get(model) ?? new TokenScale();
    renew(this.#scales, model, scale);
    return scale;
  }
}

/** Puts it last, so that who was not renewed for longest is first, and goes when there are too many. */
const renew = <Value>(remembered: Map<string, Value>, model: string, value: Value): void => {
  remembered.delete(model);
  remembered.set(model, value);
  for (const oldest of remembered.keys()) {
    if (remembered.size <= modelsRememberedMax) return;
    remembered.delete(oldest);
  }
};
