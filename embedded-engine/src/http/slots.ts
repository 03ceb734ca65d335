/**
 * llama-server's `/slots`, `/slots/{id}?action=save|restore|erase` and `/props`, as far as a program needs them that
 * moves KV from one server to another: which slots there are, what they are busy with, and their state as files.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { eraseSlot, restoreSlot, saveSlot } from '../generation/slots.ts';
import { invalid, unsupported } from '../openai/errors.ts';
import type { JsonObject } from '../openai/fields.ts';
import { parseSlotRequest } from '../openai/native-request.ts';
import { checkSlot, type Engine } from './engine.ts';
import { type Exchange, readBody, sendJson } from './exchange.ts';

export const slotPath = /^\/slots\/(\d{1,4})$/;

export function properties(engine: Engine, exchange: Exchange): void {
  const { loaded, servedName } = engine;
  sendJson(exchange, 200, {
    default_generation_settings: { n_ctx: loaded.contextTokens },
    total_slots: loaded.sequences.length,
    model_alias: servedName,
    model_path: loaded.path,
    build_info: loaded.build,
  });
}

export function list(engine: Engine, exchange: Exchange): void {
  const { ledger, loaded, pool } = engine;
  const slots = loaded.sequences.map((_, id) => ({
    id,
    n_ctx: loaded.contextTokens,
    is_processing: !pool.isFree(id),
    // As there, a slot that was never used says no more.
    ...(pool.lastUsed(id) === 0
      ? {}
      : { id_task: pool.lastUsed(id), n_prompt_tokens: ledger.residentTokens(id).length }),
  }));
  sendJson(exchange, 200, slots);
}

export async function act(engine: Engine, exchange: Exchange): Promise<void> {
  const url = new URL(exchange.request.url ?? '/', 'http://engine');
  const slot = checkSlot(engine, Number(slotPath.exec(url.pathname)?.[1]));
  const action = actions.get(url.searchParams.get('action') ?? '');
  if (action === undefined) throw invalid('action', '"action" must be save, restore or erase.');
  const body = await readBody(exchange);
  sendJson(exchange, 200, { id_slot: slot, ...(await action(engine, slot, body, exchange.signal)) });
}

type Action = (engine: Engine, slot: number, body: JsonObject, signal: AbortSignal) => Promise<object>;

const actions: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['save', save],
  ['restore', restore],
  ['erase', async (engine, slot, _, signal) => ({ n_erased: await eraseSlot(engine, slot, signal) })],
]);

async function save(engine: Engine, slot: number, body: JsonObject, signal: AbortSignal) {
  const filename = parseSlotRequest(body);
  const { tokens, bytes, ms } = await saveSlot(engine, slot, pathOf(engine, filename), signal);
  return { filename, n_saved: tokens, n_written: bytes, timings: { save_ms: ms } };
}

async function restore(engine: Engine, slot: number, body: JsonObject, signal: AbortSignal) {
  const filename = parseSlotRequest(body);
  const file = await fileAt(pathOf(engine, filename));
  const { tokens, bytes, ms } = await restoreSlot(engine, slot, file, signal);
  return { filename, n_restored: tokens, n_read: bytes, timings: { restore_ms: ms } };
}

function pathOf({ slotSavePath }: Engine, filename: string): string {
  if (slotSavePath !== undefined) return path.join(slotSavePath, filename);
  throw unsupported('action', 'Start the engine with --slot-save-path to save and restore slots.');
}

/** A name that is no file must not cost a slot its content. */
async function fileAt(file: string): Promise<{ readonly path: string; readonly bytes: number }> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile()) return { path: file, bytes: found.size };
  throw invalid('filename', 'There is no such file.');
}
