/** What a keeper and the command that started it say to each other: one JSON object a line. Both ends import it. */
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { type StageTimes, stages } from './stages.ts';

export interface Served {
  readonly edge: string;
  readonly times: StageTimes;
  /** Of an edge of our own. */
  readonly own?: {
    readonly apiKey: string;
    readonly model: string;
    readonly path: string;
    readonly example: Readonly<Record<string, unknown>>;
  };
}

export type KeeperLine =
  | { readonly event: 'step'; readonly step: string; readonly text: string }
  | { readonly event: 'served'; readonly served: Served }
  | { readonly event: 'failed'; readonly message: string };

const servedIn = (value: unknown): Served | undefined => {
  if (!isRecord(value) || typeof value.edge !== 'string' || !isRecord(value.times)) return undefined;
  const { edge, times, own } = value;
  const known = stages.flatMap((stage) => (typeof times[stage] === 'number' ? [[stage, times[stage]]] : []));
  const served = { edge, times: Object.fromEntries(known) as StageTimes };
  if (!isRecord(own)) return served;
  const { apiKey, model, path, example } = own;
  if (!isRecord(example)) return undefined;
  return { ...served, own: { apiKey: String(apiKey), model: String(model), path: String(path), example } };
};

/** Undefined: it is none of these. */
export const keeperLineIn = (line: string): KeeperLine | undefined => {
  const { event, step, text, message, served } = jsonRecordIn(line) ?? {};
  if (event === 'step' && typeof step === 'string' && typeof text === 'string') return { event, step, text };
  if (event === 'failed' && typeof message === 'string') return { event, message };
  const told = event === 'served' ? servedIn(served) : undefined;
  return told && { event: 'served', served: told };
};
