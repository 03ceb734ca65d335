/**
 * TensorRT-LLM's `trtllm-serve`, PyTorch backend. Flags and the file of `--config` (which older releases call
 * `--extra_llm_api_options` and still take so) as in its `docs/source/commands/trtllm-serve` and
 * `docs/source/features/disagg-serving.md`, KVBM as in Dynamo's `lib/bindings/kvbm/README.md`. The file is YAML, of
 * which JSON is a part.
 */
import { behindPrompt } from './continuing.ts';
import { hostCacheBytes, hostCacheGigabytes, hostDiskGigabytes } from './host-cache.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

const fileName = 'trtllm.yaml';
/** So many events wait until they are asked for. */
const eventBufferMax = 1_024;

const configOf = ({ kvOffload, role }: LaunchPlan): object => ({
  kv_cache_config: {
    enable_block_reuse: true,
    event_buffer_max_size: eventBufferMax,
    ...(kvOffload === 'hicache' ? { host_cache_size: hostCacheBytes } : {}),
    // Dynamo's manager moves whole blocks.
    ...(kvOffload === 'kvbm' ? { enable_partial_reuse: false } : {}),
  },
  ...(kvOffload === 'nixl' ? { cache_transceiver_config: { backend: 'NIXL' } } : {}),
  ...(kvOffload === 'nixl' && role === 'prefill' ? { disable_overlap_scheduler: true } : {}),
  ...(kvOffload === 'kvbm'
    ? {
        kv_connector_config: {
          connector_module: 'kvbm.trtllm_integration.connector',
          connector_scheduler_class: 'DynamoKVBMConnectorLeader',
          connector_worker_class: 'DynamoKVBMConnectorWorker',
        },
      }
    : {}),
  // Without these its metrics stay empty.
  return_perf_metrics: true,
  enable_iter_perf_stats: true,
});

const argvOf = ({ config, host, ports }: LaunchPlan, file: string): readonly string[] => [
  ...['serve', config.model, '--backend', 'pytorch', '--host', host, '--port', String(ports.http)],
  ...(config.servedName === undefined ? [] : ['--served_model_name', config.servedName]),
  ...(config.tensorParallel === 1 ? [] : ['--tp_size', String(config.tensorParallel)]),
  ...['--extra_llm_api_options', file],
];

const environmentOf = ({ config, kvOffload }: LaunchPlan): Record<string, string> =>
  kvOffload === 'kvbm'
    ? {
        DYN_KVBM_CPU_CACHE_GB: String(hostCacheGigabytes),
        ...(config.kvDirectory === undefined
          ? {}
          : {
              DYN_KVBM_DISK_CACHE_DIR: config.kvDirectory,
              DYN_KVBM_DISK_CACHE_GB: String(hostDiskGigabytes),
            }),
      }
    : {};

export const trtllm: EngineProfile = {
  name: 'trtllm',
  launching: {
    program: 'trtllm-serve',
    helpArgv: ['serve', '--help'],
    release: {
      program: 'python3',
      argv: ['-c', "from importlib.metadata import version; print(version('tensorrt_llm'))"],
    },
    splits: 'any',
    namesModel: true,
    keepsKvOnDisk: ['kvbm'],
    render: (plan) => {
      const file = `${plan.directory}/${fileName}`;
      return {
        argv: argvOf(plan, file),
        environment: environmentOf(plan),
        files: { [file]: `${JSON.stringify(configOf(plan), undefined, 2)}\n` },
      };
    },
  },
  health: { path: '/health', whileLoading: 'no listener' },
  metrics: {
    // `/metrics` is its own JSON.
    path: '/prometheus/metrics',
    running: ['trtllm_num_requests_running'],
    waiting: ['trtllm_num_requests_waiting'],
    kvUsage: ['trtllm_kv_cache_utilization'],
    promptTokens: [],
    promptTokensAreAll: true,
    cachedTokens: [],
    generatedTokens: [],
    preemptions: [],
  },
  kvEvents: { kind: 'poll', path: '/kv_cache_events' },
  renders: undefined,
  // `serve/chat_utils.py`, `inputs/utils.py`, and the fields of `serve/openai_protocol.py` in their order.
  chatInput: {
    partSeparator: '\n',
    keepsParts: false,
    fields: { assistant: ['tool_calls'], tool: ['tool_call_id'], '*': [] },
    reasoning: ['reasoning', 'reasoning_content'],
    tools: { name: null, description: null, parameters: null, strict: null },
    choosesTools: false,
    tellsEffort: false,
  },
  handsOver: undefined,
  // Its chats close the last message (`openai_protocol.py`).
  continues: new Map([behindPrompt]),
  reportsProgress: false,
  reportsCachedTokens: true,
  offloads: {
    none: ['both'],
    nixl: ['both', 'prefill', 'decode'],
    hicache: ['both'],
    kvbm: ['both'],
  },
  evidence: [{ kind: 'constructed', from: "TensorRT-LLM's documents" }],
};
