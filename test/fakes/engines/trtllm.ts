/**
 * TensorRT-LLM's `trtllm-serve` as documented: JSON of its own on `/metrics`, Prometheus text on `/prometheus/metrics`,
 * events of the cache by `POST /kv_cache_events`, each told once. Never run here.
 */
import type { Kind } from './fake.ts';
import { empty, json, metricsPage, modelList, notFound, routed, speak, text } from './shapes.ts';

const error = (message: string, type: string, code: number): string =>
  JSON.stringify({ object: 'error', message, type, param: null, code });

const spoken = speak(
  {
    id: 'chatcmpl-0f1e2d3c4b5a69788796a5b4c3d2e1f0',
    extra: {},
    tokens: ['Ciao', '!', ' 🙂'],
    delta: (change) => ({ content: null, reasoning_content: null, tool_calls: [], ...change }),
    choice: () => ({ logprobs: null, stop_reason: null }),
    noUsage: null,
    usage: {
      ...{ prompt_tokens: 33, total_tokens: 36, completion_tokens: 3 },
      prompt_tokens_details: { cached_tokens: 32 },
    },
  },
  (name) => error(`The model ${name} does not exist.`, 'NotFoundError', 404),
);

/** A block of 32 tokens for each request. */
const storedBlock = (request: number): object => ({
  event_id: request,
  data: {
    type: 'stored',
    parent_hash: null,
    blocks: [
      {
        type: 'stored_block',
        block_hash: 7_000 + request,
        tokens: Array.from({ length: 32 }, (_, at) => ({
          type: 'unique_token',
          token_id: request * 32 + at,
          token_extra_id: 0,
        })),
        cache_level: 0,
        priority: 35,
      },
    ],
  },
});

export const trtllm: Kind = {
  name: 'trtllm',
  usage: { prompt: 33, cached: 32, generated: 3 },
  whileLoading: 'no listener',
  error500: error('Executor died', 'InternalServerError', 500),
  help: [
    '--backend [pytorch|tensorrt|_autodeploy]',
    '--host TEXT',
    '--port INTEGER',
    '--served_model_name TEXT',
    '--tp_size, --tensor_parallel_size INTEGER',
    '--config, --extra_llm_api_options TEXT',
  ].join('\n'),
  answer: (serving) => {
    const { models, counts } = serving;
    const labels = '{model_name="m",engine_type="trtllm"}';
    const page = (): string =>
      metricsPage({
        [`trtllm_num_requests_running${labels}`]: counts.running,
        [`trtllm_num_requests_waiting${labels}`]: counts.waiting,
        [`trtllm_kv_cache_utilization${labels}`]: 0.25,
        [`trtllm_kv_cache_hit_rate${labels}`]: 0.5,
      });
    let told = 0;
    const events = (): string => {
      const fresh: object[] = [];
      for (; told < counts.served; told += 1) fresh.push(storedBlock(told));
      return JSON.stringify(fresh);
    };
    const api = spoken(serving);
    return routed(
      {
        '/health': empty,
        '/metrics': json(() => JSON.stringify([{ iter: 7, numActiveRequests: counts.running }])),
        '/prometheus/metrics': text(page),
        '/kv_cache_events': json(events),
        '/v1/models': json(() => modelList(models, 'tensorrt_llm')),
        '/v1/chat/completions': api,
        '/v1/completions': api,
      },
      notFound,
    );
  },
};
