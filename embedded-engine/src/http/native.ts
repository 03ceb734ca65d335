/**
 * llama-server's own routes: `/tokenize`, `/detokenize`, `/apply-template`; and the lists and pages of the
 * engine.
 */
import { renderMetrics } from '../metrics.ts';
import { invalid } from '../openai/errors.ts';
import {
  parseDetokenizeRequest,
  parseTemplateRequest,
  parseTokenizeRequest,
} from '../openai/native-request.ts';
import type { Engine } from './engine.ts';
import { type Exchange, readBody, sendJson, sendText } from './exchange.ts';

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A piece as text, or as bytes where it is only part of a character. */
function piece(bytes: Uint8Array): string | number[] {
  try {
    return strict.decode(bytes);
  } catch {
    return [...bytes];
  }
}

export async function tokenize(engine: Engine, exchange: Exchange): Promise<void> {
  const request = parseTokenizeRequest(await readBody(exchange));
  const { loaded } = engine;
  const ids = loaded.tokenize(request.content, request.add_special, request.parse_special);
  const tokens = request.with_pieces
    ? ids.map((id) => ({ id, piece: piece(loaded.vocabulary.pieceBytes(id)) }))
    : ids;
  sendJson(exchange, 200, { tokens });
}

export async function detokenize(engine: Engine, exchange: Exchange): Promise<void> {
  const tokens = parseDetokenizeRequest(await readBody(exchange));
  const { vocabulary } = engine.loaded;
  const wrong = tokens.find((token) => token >= vocabulary.size);
  if (wrong !== undefined) throw invalid('tokens', `Token ${wrong} is not in the vocabulary.`);
  const bytes = Buffer.concat(tokens.map((token) => vocabulary.pieceBytes(token)));
  sendJson(exchange, 200, { content: bytes.toString('utf8') });
}

export async function applyTemplate(engine: Engine, exchange: Exchange): Promise<void> {
  const { addGenerationPrompt, messages } = parseTemplateRequest(await readBody(exchange));
  sendJson(exchange, 200, { prompt: engine.loaded.renderChat(messages, addGenerationPrompt) });
}

export function models(engine: Engine, exchange: Exchange): void {
  const model = {
    id: engine.servedName,
    object: 'model',
    created: engine.startedUnixSeconds,
    owned_by: 'cognitora-embedded-engine',
    max_model_len: engine.loaded.contextTokens,
    toy: engine.toy,
  };
  sendJson(exchange, 200, { object: 'list', data: [model] });
}

export function health(_engine: Engine, exchange: Exchange): void {
  sendJson(exchange, 200, { status: 'ok' });
}

export function metrics(engine: Engine, exchange: Exchange): void {
  const { counters, ledger, loaded, pool } = engine;
  const sequences = loaded.sequences.length;
  const page = renderMetrics(counters, {
    requestsRunning: pool.running,
    requestsWaiting: pool.waiting,
    kvBlocksInUse: ledger.residentBlocks,
    kvBlocksCapacity: sequences * Math.floor(loaded.contextTokens / ledger.blockTokens),
    sequences,
    contextTokens: loaded.contextTokens,
  });
  sendText(exchange, 200, page, 'text/plain; version=0.0.4; charset=utf-8');
}
