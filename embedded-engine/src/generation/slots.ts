/**
 * The state of one sequence as a file, and back: KV and the tokens that it stands for. The ledger is told before
 * something is gone and after something is there, so that KV events stay true. Nothing in such a file says whether it
 * is whole or whose model wrote it: whoever brings one answers for it. Saves no sequence with a salt, because the file
 * would not carry it.
 */
import type { LlamaContextSequence } from 'node-llama-cpp';
import type { BlockEvent } from '../kv-events/blocks.ts';
import { invalid } from '../openai/errors.ts';
import type { GeneratorParts } from './generate.ts';
import type { Use } from './pool.ts';

export interface Transfer {
  readonly tokens: number;
  readonly bytes: number;
  readonly ms: number;
}

/** Waits until the sequence is free, as a request for it would; `work` has it for itself. */
async function withFree<T>(
  { pool }: GeneratorParts,
  index: number,
  signal: AbortSignal,
  use: Use,
  work: () => Promise<T>,
): Promise<T> {
  await pool.acquire((sequence) => (sequence === index ? { commonPrefix: 0 } : undefined), signal);
  try {
    return await work();
  } finally {
    pool.release(index, use);
  }
}

function sequenceAt({ loaded }: GeneratorParts, index: number): LlamaContextSequence {
  const sequence = loaded.sequences[index];
  if (!sequence) throw new Error(`no sequence ${index}`);
  return sequence;
}

export async function saveSlot(
  parts: GeneratorParts,
  index: number,
  path: string,
  signal: AbortSignal,
): Promise<Transfer> {
  const { changes, clock, counters, ledger } = parts;
  const sequence = sequenceAt(parts, index);
  return await withFree(parts, index, signal, 'counts not', async () => {
    const tokens = ledger.residentTokens(index).length;
    if (ledger.salt(index) !== '') throw invalid('id_slot', 'A prompt with a cache_salt is not saved.');
    if (tokens === 0 || sequence.nextTokenIndex !== tokens) {
      throw invalid('id_slot', `Slot ${index} holds nothing that can be saved.`);
    }
    const started = clock.monotonicMs();
    const { fileSize } = await changes.make(() => sequence.saveStateToFile(path));
    counters.slotSaves += 1;
    return { tokens, bytes: fileSize, ms: clock.monotonicMs() - started };
  });
}

export async function restoreSlot(
  parts: GeneratorParts,
  index: number,
  file: { readonly path: string; readonly bytes: number },
  signal: AbortSignal,
): Promise<Transfer> {
  const { changes, clock, counters, ledger } = parts;
  const sequence = sequenceAt(parts, index);
  return await withFree(parts, index, signal, 'counts', async () => {
    const started = clock.monotonicMs();
    tell(parts, ledger.truncate(index, 0));
    ledger.setSalt(index, '');
    counters.slotRestores += 1;
    // Emptied first: a file that breaks off leaves the cells in place that the library believes to be gone.
    await changes.make(() => sequence.clearHistory());
    try {
      await changes.make(() => sequence.loadStateFromFile(file.path, { acceptRisk: true }));
    } catch {
      throw invalid('filename', 'The file is no state of this model that fits a slot.');
    }
    const tokens = sequence.contextTokens;
    tell(parts, ledger.extend(index, tokens));
    return { tokens: tokens.length, bytes: file.bytes, ms: clock.monotonicMs() - started };
  });
}

/** Returns how many tokens the sequence held. */
export async function eraseSlot(parts: GeneratorParts, index: number, signal: AbortSignal): Promise<number> {
  const sequence = sequenceAt(parts, index);
  return await withFree(parts, index, signal, 'emptied', async () => {
    const tokens = parts.ledger.residentTokens(index).length;
    tell(parts, parts.ledger.truncate(index, 0));
    await parts.changes.make(() => sequence.clearHistory());
    return tokens;
  });
}

function tell(parts: GeneratorParts, events: readonly BlockEvent[]): void {
  if (events.length > 0) parts.publish(events);
}
