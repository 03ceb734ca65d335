/**
 * One short streamed completion per endpoint, asked without `include_usage`: shows whether an engine's streams carry
 * `usage` anyway (some send `"usage":null` in each event, others the numbers), and what they write into the event that
 * ends a choice, so that undoing the edit restores just its bytes. The endpoints of one engine differ: vLLM and
 * llama-server write usage in completions and not in chats.
 */
import { type Volunteered, volunteeredIn, volunteersNothing } from '@cognitora/protocol/volunteered';
import { type Engine, readBounded } from './engine.ts';

/** A cold engine compiles kernels on its first completion. */
const probeTimeoutMs = 120_000;
const probeBytesMax = 256 * 1024;

/** By the API's path. */
export type VolunteeredByPath = ReadonlyMap<string, Volunteered>;

const prompts = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'Hi' }] },
  '/v1/completions': { prompt: 'Hi' },
} as const;

/** Nothing is volunteered where the model takes no such request. Throws when the engine is not reachable. */
export const probeVolunteered = async (engine: Engine, served: string): Promise<VolunteeredByPath> => {
  const found = new Map<string, Volunteered>();
  for (const [path, prompt] of Object.entries(prompts)) {
    found.set(path, await probePath(engine, path, { model: served, ...prompt, max_tokens: 1, stream: true }));
  }
  return found;
};

const probePath = async (engine: Engine, path: string, request: object): Promise<Volunteered> => {
  const { statusCode, body } = await engine.pool.request({
    method: 'POST',
    path: engine.pathOf(path),
    headers: { ...engine.headers, 'content-type': 'application/json' },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(probeTimeoutMs),
  });
  const stream = await readBounded(body, probeBytesMax);
  if (statusCode === 503) throw new Error('the engine is still loading its model');
  return statusCode === 200 ? volunteeredIn(stream) : volunteersNothing;
};
