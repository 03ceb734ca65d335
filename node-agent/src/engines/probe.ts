/**
 * One short streamed completion per endpoint, asked without `include_usage`: shows whether an engine's streams carry
 * `usage` anyway (some send `"usage":null` in each event, others the numbers), so that undoing the edit restores just
 * its bytes. The endpoints of one engine differ: vLLM and llama-server write it in completions and not in chats.
 */
import { scanMembers } from '@cognitora/protocol/members';
import { SseSplitter } from '@cognitora/protocol/sse';
import type { VolunteeredUsage } from '@cognitora/protocol/undo';
import { type Engine, readBounded } from './engine.ts';

/** A cold engine compiles kernels on its first completion. */
const probeTimeoutMs = 120_000;
const probeBytesMax = 256 * 1024;

/** By the API's path. */
export type Volunteered = ReadonlyMap<string, VolunteeredUsage>;

const prompts = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'Hi' }] },
  '/v1/completions': { prompt: 'Hi' },
} as const;

/** `nothing` also where the model takes no such request. Throws when the engine is not reachable. */
export const probeVolunteeredUsage = async (engine: Engine, served: string): Promise<Volunteered> => {
  const found = new Map<string, VolunteeredUsage>();
  for (const [path, prompt] of Object.entries(prompts)) {
    found.set(path, await probePath(engine, path, { model: served, ...prompt, max_tokens: 1, stream: true }));
  }
  return found;
};

const probePath = async (engine: Engine, path: string, request: object): Promise<VolunteeredUsage> => {
  const { statusCode, body } = await engine.pool.request({
    method: 'POST',
    path: engine.pathOf(path),
    headers: { ...engine.headers, 'content-type': 'application/json' },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(probeTimeoutMs),
  });
  const stream = await readBounded(body, probeBytesMax);
  if (statusCode === 503) throw new Error('the engine is still loading its model');
  return statusCode === 200 ? volunteeredIn(stream) : 'nothing';
};

/** What a whole SSE stream says of usage. */
export const volunteeredIn = (stream: Uint8Array): VolunteeredUsage => {
  let volunteered: VolunteeredUsage = 'nothing';
  new SseSplitter().push(stream, (event) => {
    const start = event.indexOf(0x7b);
    const usage = start < 0 ? undefined : scanMembers(event.subarray(start)).members.get('usage');
    if (usage === undefined) return;
    const isNull = event[start + usage.valueStart] === 0x6e;
    if (!isNull) volunteered = 'usage';
    else if (volunteered === 'nothing') volunteered = 'null';
  });
  return volunteered;
};
