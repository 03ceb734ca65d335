/**
 * SGLang's server as documented: `usage: null` and null fields in each event, `matched_stop`, 503 on `/health` until
 * its own first request is through, counters of cached tokens by where they came from. Never run here.
 */
import type { Kind } from './fake.ts';
import { empty, metricsPage, modelList, notFound, routed, speak, text } from './shapes.ts';
import { storedEvent } from './stored-event.ts';

const error = (message: string, type: string, code: number): string =>
  JSON.stringify({ object: 'error', message, type, param: null, code });

const spoken = speak(
  {
    id: '9e8d7c6b5a49382716050f1e2d3c4b5a',
    extra: {},
    tokens: ['Bon', 'jour', ' 👋'],
    delta: (change) => ({ role: null, content: null, reasoning_content: null, tool_calls: null, ...change }),
    choice: (finish) => ({ logprobs: null, matched_stop: finish === null ? null : 151_645 }),
    noUsage: null,
    usage: {
      ...{ prompt_tokens: 12, total_tokens: 15, completion_tokens: 3 },
      prompt_tokens_details: { cached_tokens: 8 },
      reasoning_tokens: 0,
    },
  },
  (name) => error(`Model '${name}' not found`, 'NotFoundError', 404),
);

export const sglang: Kind = {
  name: 'sglang',
  usage: { prompt: 12, cached: 8, generated: 3 },
  whileLoading: { says503: '' },
  error500: error('Internal server error: scheduler is gone', 'InternalServerError', 500),
  help: [
    '--model-path MODEL_PATH, --model MODEL_PATH',
    '--host HOST',
    '--port PORT',
    '--served-model-name SERVED_MODEL_NAME',
    '--tensor-parallel-size TP_SIZE, --tp-size TP_SIZE',
    '--page-size PAGE_SIZE',
    '--enable-metrics',
    '--enable-cache-report',
    '--kv-events-config KV_EVENTS_CONFIG',
    '--enable-hierarchical-cache',
    '--hicache-ratio HICACHE_RATIO',
    '--hicache-size HICACHE_SIZE',
    '--hicache-write-policy {write_back,write_through,write_through_selective}',
    '--hicache-storage-backend {file,mooncake,hf3fs,nixl,aibrix,dynamic,eic}',
    '--enable-lmcache',
    '--disaggregation-mode {null,prefill,decode}',
    '--disaggregation-transfer-backend {mooncake,nixl,ascend,fake}',
    '--disaggregation-bootstrap-port PORT',
  ].join('\n'),
  kvEvent: (request) => storedEvent(request, []),
  answer: (serving) => {
    const { models, counts } = serving;
    const page = (): string =>
      metricsPage({
        'sglang:num_running_reqs{model_name="m"}': counts.running,
        'sglang:num_queue_reqs{model_name="m"}': counts.waiting,
        'sglang:token_usage{model_name="m"}': 0.25,
        'sglang:prompt_tokens_total{model_name="m"}': counts.promptTokens,
        'sglang:cached_tokens_total{cache_source="device",model_name="m"}': counts.cachedTokens / 2,
        'sglang:cached_tokens_total{cache_source="host",model_name="m"}': counts.cachedTokens / 2,
        'sglang:generation_tokens_total{model_name="m"}': counts.generatedTokens,
        'sglang:num_retracted_reqs{model_name="m"}': 0,
      });
    const api = spoken(serving);
    return routed(
      {
        '/health': empty,
        '/metrics': text(page),
        '/v1/models': text(
          () => modelList(models, 'sglang', { root: 'm', max_model_len: 32_768 }),
          'application/json',
        ),
        '/v1/chat/completions': api,
        '/v1/completions': api,
      },
      notFound,
    );
  },
};
