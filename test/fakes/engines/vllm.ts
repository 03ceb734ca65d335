/** vLLM: answers as `../vllm.ts` has them, `/metrics` and `/health` as in its documents, events in maps or arrays. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { vllmAnswer, vllmError } from '../vllm.ts';
import type { Kind } from './fake.ts';
import { empty, json, metricsPage, notFound, routed, text } from './shapes.ts';
import { storedEvent } from './stored-event.ts';

const recorded = join(import.meta.dirname, '../recordings/vllm/help-options.txt');
const model = '{model_name="m",engine="0"}';

export const vllm: Kind = {
  name: 'vllm',
  usage: { prompt: 23, cached: 16, generated: 10 },
  whileLoading: 'no listener',
  error500: vllmError(
    'EngineCore encountered an issue. See stack trace for the root cause.',
    'InternalServerError',
    500,
  ),
  help: readFileSync(recorded, 'utf8'),
  kvEvent: (request) => storedEvent(request, [undefined, 'GPU']),
  answer: ({ models, counts }) => {
    const page = (): string =>
      metricsPage({
        [`vllm:num_requests_running${model}`]: counts.running,
        [`vllm:num_requests_waiting${model}`]: counts.waiting,
        [`vllm:kv_cache_usage_perc${model}`]: 0.25,
        [`vllm:prompt_tokens_total${model}`]: counts.promptTokens,
        [`vllm:prompt_tokens_cached_total${model}`]: counts.cachedTokens,
        [`vllm:generation_tokens_total${model}`]: counts.generatedTokens,
        [`vllm:num_preemptions_total${model}`]: 0,
      });
    const api = vllmAnswer({ models });
    return routed(
      {
        '/health': empty,
        '/metrics': text(page),
        '/version': json(() => '{"version":"0.32.0"}'),
        '/v1/models': api,
        '/v1/chat/completions': api,
        '/v1/completions': api,
        '/v1/embeddings': api,
      },
      notFound,
    );
  },
};
