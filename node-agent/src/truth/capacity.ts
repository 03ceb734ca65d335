/**
 * How much an engine's cache holds, in the engine's own words: one way to ask after the other until one answers. Where
 * none does, a stated guess that is small for any GPU, because too little only costs hits.
 */
import { isRecord } from '@cognitora/protocol/shape';
import type { Answer, Ask } from '../engines/ask.ts';
import type { Capacity } from './cache-model.ts';

/** An 8B model in 16 bits leaves that much on a card of 24 GB. More once the engine reports that it had more. */
export const capacityTokensDefault = 49_152;
/** More sequences than any engine runs. */
const slotsMax = 1_024;
export const tokensMax = 1e9;

const inRange = (value: unknown, max: number): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, max) : undefined;

/** A server's properties: so many slots. */
const fromProperties = ({ record }: Answer): Capacity | undefined => {
  const slots = isRecord(record) ? inRange(record.total_slots, slotsMax) : undefined;
  return slots === undefined ? undefined : { kind: 'slots', slots };
};

/** A label's or a sample's number in a page of metrics. */
const numberIn = (text: string, pattern: RegExp): number | undefined => {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : inRange(Number(found), tokensMax);
};

const product = (left: number | undefined, right: number | undefined): number | undefined =>
  left === undefined || right === undefined ? undefined : Math.min(left * right, tokensMax);

/** Prometheus text: pages and their size as labels of an information metric, or sequences as a gauge. */
const fromMetrics = ({ text }: Answer): Capacity | undefined => {
  const cacheConfig = /^\w+:cache_config_info\{[^\n]*/m.exec(text)?.[0] ?? '';
  const tokens =
    product(
      numberIn(cacheConfig, /[{,]block_size="(\d+)"/),
      numberIn(cacheConfig, /[{,]num_gpu_blocks="(\d+)"/),
    ) ??
    product(numberIn(cacheConfig, /[{,]page_size="(\d+)"/), numberIn(cacheConfig, /[{,]num_pages="(\d+)"/));
  if (tokens !== undefined) return { kind: 'pages', tokens };
  const slots = numberIn(text, /^cognitora_engine_sequences (\d+)$/m);
  return slots === undefined ? undefined : { kind: 'slots', slots: Math.min(slots, slotsMax) };
};

const questions: readonly (readonly [path: string, read: (answer: Answer) => Capacity | undefined])[] = [
  ['/props', fromProperties],
  ['/metrics', fromMetrics],
];

/** Never rejects: an engine that does not say is guessed. */
export const findCapacity = async (ask: Ask): Promise<Capacity> => {
  for (const [path, read] of questions) {
    const answer = await ask(path).catch(() => undefined);
    const capacity = answer?.status === 200 ? read(answer) : undefined;
    if (capacity !== undefined) return capacity;
  }
  return { kind: 'pages', tokens: capacityTokensDefault, isGuess: true };
};
