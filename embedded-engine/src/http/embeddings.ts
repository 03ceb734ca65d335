/** `POST /v1/embeddings`: inputs one after another in a context of their own; vectors have length one. */

import { parseEmbeddingRequest } from '../openai/embedding-request.ts';
import { invalid, unsupported } from '../openai/errors.ts';
import { checkModel, type Engine, promptTokens } from './engine.ts';
import { type Exchange, readBody, sendJson } from './exchange.ts';

function base64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(4 * vector.length);
  for (const [at, component] of vector.entries()) bytes.writeFloatLE(component, 4 * at);
  return bytes.toString('base64');
}

export async function embeddings(engine: Engine, exchange: Exchange): Promise<void> {
  const request = parseEmbeddingRequest(await readBody(exchange));
  checkModel(engine, request.model);
  const { loaded } = engine;
  const size = loaded.model.embeddingVectorSize;
  if (request.dimensions !== undefined && request.dimensions !== size) {
    throw unsupported('dimensions', `This model's embeddings have ${size} dimensions.`);
  }
  const inputs = request.inputs.map((input) => promptTokens(engine, input, 'input'));
  engine.counters.requests += 1;
  const embedded: { object: string; index: number; embedding: string | readonly number[] }[] = [];
  let tokens = 0;
  for (const [index, input] of inputs.entries()) {
    if (exchange.signal.aborted) return;
    const vector = await loaded.embed(input);
    if (vector.length !== size) throw invalid('input', 'This model gives no embeddings.');
    // Both encodings carry the same 32-bit numbers.
    const embedding = request.format === 'base64' ? base64(vector) : vector.map(Math.fround);
    embedded.push({ object: 'embedding', index, embedding });
    tokens += input.length;
  }
  engine.counters.embeddingTokens += tokens;
  sendJson(exchange, 200, {
    object: 'list',
    data: embedded,
    model: engine.servedName,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}
