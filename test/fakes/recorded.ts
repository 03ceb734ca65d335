/**
 * An engine that plays recordings: `recordings/<name>.sse` as it stands for a stream without usage, and
 * `<name>.usage.sse` where the request asks for it. For engines whose bytes say more than rules would.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeEngine, parseBody, sendJson, sseHeaders } from './fake-engine.ts';
import { readAsked } from './openai-request.ts';

const folder = join(import.meta.dirname, 'recordings');

export const recording = (name: string): Buffer => readFileSync(join(folder, name));

/** Each model plays the recording of its own name. */
export const startRecorded = (models: readonly string[]): Promise<FakeEngine> =>
  new FakeEngine(({ received, response }) => {
    if (received.path === '/v1/models') {
      const data = models.map((id) => ({ id, object: 'model', created: 1_761_000_002, owned_by: 'sglang' }));
      return sendJson(response, 200, JSON.stringify({ object: 'list', data }));
    }
    const asked = readAsked(parseBody(received.body) ?? {});
    const bytes = recording(`${asked.model}${asked.includesUsage ? '.usage' : ''}.sse`);
    response.writeHead(200, sseHeaders);
    // Cut where no event ends: whoever reads must not rely on the pieces.
    for (let at = 0; at < bytes.length; at += 97) response.write(bytes.subarray(at, at + 97));
    response.end();
    return undefined;
  }).start();
