/** The files of `kv-fixtures`, read. Only tests import it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EventMessage } from '../src/truth/events/subscription.ts';

interface WrittenMessage {
  readonly sequence: number;
  readonly payload: string;
}

interface EventCase {
  readonly messages: readonly WrittenMessage[];
  readonly replay: readonly WrittenMessage[];
}

export interface ConstructedEvents {
  readonly source: 'constructed';
  readonly encoding: string;
  readonly cases: Readonly<Record<string, EventCase>>;
}

export interface RecordedEvents {
  readonly source: 'recorded';
  readonly messages: readonly (WrittenMessage & { readonly after: string; readonly topic: string })[];
  /** Frames of each message of the answer. */
  readonly replay: readonly (readonly string[])[];
}

export interface RecordedTokens {
  readonly source: 'recorded';
  readonly exchanges: readonly {
    readonly answer: { readonly tokens: readonly number[]; readonly token_strs: readonly string[] };
    readonly text: string;
  }[];
}

const read = (name: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, 'kv-fixtures', name), 'utf8'));

export const constructedEvents = (): readonly ConstructedEvents[] =>
  ['arrays.json', 'maps.json', 'map-of-maps.json'].map((name) => read(name) as ConstructedEvents);
export const recordedEvents = (): RecordedEvents => read('vllm-0.32.json') as RecordedEvents;
export const recordedTokens = (): readonly RecordedTokens[] =>
  ['vllm-0.32-tokenize.json', 'spaces-tokenize.json'].map((name) => read(name) as RecordedTokens);

/** By case the answers to one question after the other. */
export const constructedPolls = (): Readonly<Record<string, readonly (readonly unknown[])[]>> =>
  (read('polls.json') as { readonly cases: Record<string, unknown[][]> }).cases;

export const messageOf = ({ sequence, payload }: WrittenMessage): EventMessage => ({
  sequence: BigInt(sequence),
  payload: Buffer.from(payload, 'base64'),
});
