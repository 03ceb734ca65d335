/**
 * An engine that says what somebody wrote down: `hand-written/<name>.sse` for a stream without usage,
 * `<name>.usage.sse` where the request asks for it. `sglang-chat` is SGLang's documented shape, never run; `odd-sse`
 * is what the SSE standard allows and no engine writes. What real engines said is in `recordings/`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeEngine, parseBody, sendJson, sseHeaders } from './fake-engine.ts';
import { readAsked } from './openai-request.ts';

const folder = join(import.meta.dirname, 'hand-written');

/** Each model says what is in the file of its own name. */
export const startHandWritten = (models: readonly string[]): Promise<FakeEngine> =>
  new FakeEngine(({ received, response }) => {
    if (received.path === '/v1/models') {
      const data = models.map((id) => ({ id, object: 'model', created: 1_761_000_002, owned_by: 'sglang' }));
      return sendJson(response, 200, JSON.stringify({ object: 'list', data }));
    }
    const asked = readAsked(parseBody(received.body) ?? {});
    const bytes = readFileSync(join(folder, `${asked.model}${asked.includesUsage ? '.usage' : ''}.sse`));
    response.writeHead(200, sseHeaders);
    // Cut where no event ends: whoever reads must not rely on the pieces.
    for (let at = 0; at < bytes.length; at += 97) response.write(bytes.subarray(at, at + 97));
    response.end();
    return undefined;
  }).start();
