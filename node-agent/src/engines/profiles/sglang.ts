/**
 * SGLang. Flags as in its `docs/advanced_features/server_arguments.md`, `hicache_best_practices.md` and
 * `pd_disaggregation.md`, LMCache's use as in LMCache's `examples/sgl_integration/README.md`.
 */

import { behindPrompt } from './continuing.ts';
import { eventSockets } from './event-sockets.ts';
import { hostCacheGigabytes, hostDiskGigabytes } from './host-cache.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

/** A page is a block: with the default of one token on many backends there would be one event for each token. */
const pageTokens = 16;

const offloadArgv = ({ config, kvOffload, role, ports }: LaunchPlan): readonly string[] => {
  switch (kvOffload) {
    case 'nixl':
      return [
        ...['--disaggregation-mode', role, '--disaggregation-transfer-backend', 'nixl'],
        // Only the side that prefills listens there.
        ...(role === 'prefill' ? ['--disaggregation-bootstrap-port', String(ports.transfer)] : []),
      ];
    case 'hicache':
      return [
        // Its memory on the host must not be smaller than that on the GPUs: a share of it, not a size.
        ...['--enable-hierarchical-cache', '--hicache-ratio', '2'],
        ...['--hicache-write-policy', 'write_through'],
        ...(config.kvDirectory === undefined ? [] : ['--hicache-storage-backend', 'file']),
      ];
    case 'lmcache':
      return ['--enable-lmcache'];
    default:
      return [];
  }
};

const environmentOf = ({ config, kvOffload }: LaunchPlan): Record<string, string> => {
  if (config.kvDirectory !== undefined && kvOffload === 'hicache') {
    return { SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR: config.kvDirectory };
  }
  if (kvOffload !== 'lmcache') return {};
  return {
    LMCACHE_USE_EXPERIMENTAL: 'True',
    LMCACHE_LOCAL_CPU: 'True',
    LMCACHE_MAX_LOCAL_CPU_SIZE: String(hostCacheGigabytes),
    LMCACHE_PRE_CACHING_HASH_ALGORITHM: 'sha256_cbor',
    ...(config.kvDirectory === undefined
      ? {}
      : {
          LMCACHE_LOCAL_DISK: `file://${config.kvDirectory}`,
          LMCACHE_MAX_LOCAL_DISK_SIZE: String(hostDiskGigabytes),
        }),
  };
};

const argvOf = (plan: LaunchPlan): readonly string[] => {
  const { config, host, ports } = plan;
  const { events: endpoint, replay } = eventSockets(plan);
  const events = { publisher: 'zmq', topic: 'kv-events', endpoint, replay_endpoint: replay };
  return [
    ...['-m', 'sglang.launch_server', '--model-path', config.model],
    ...['--host', host, '--port', String(ports.http)],
    ...(config.servedName === undefined ? [] : ['--served-model-name', config.servedName]),
    ...(config.tensorParallel === 1 ? [] : ['--tp-size', String(config.tensorParallel)]),
    ...['--page-size', String(pageTokens), '--enable-metrics', '--enable-cache-report'],
    ...['--kv-events-config', JSON.stringify(events)],
    ...offloadArgv(plan),
  ];
};

export const sglang: EngineProfile = {
  name: 'sglang',
  launching: {
    program: 'python3',
    helpArgv: ['-m', 'sglang.launch_server', '--help'],
    release: { argv: ['-c', "from importlib.metadata import version; print(version('sglang'))"] },
    splits: 'any',
    namesModel: true,
    keepsKvOnDisk: ['lmcache', 'hicache'],
    render: (plan) => ({
      argv: argvOf(plan),
      environment: environmentOf(plan),
      kvEvents: eventSockets(plan),
    }),
  },
  // It listens as soon as its weights are there and answers 503 until its first own request is through.
  health: { path: '/health', whileLoading: 'status 503' },
  metrics: {
    path: '/metrics',
    running: ['sglang:num_running_reqs'],
    waiting: ['sglang:num_queue_reqs'],
    kvUsage: ['sglang:token_usage'],
    promptTokens: ['sglang:prompt_tokens_total'],
    promptTokensAreAll: true,
    cachedTokens: ['sglang:cached_tokens_total'],
    generatedTokens: ['sglang:generation_tokens_total'],
    preemptions: ['sglang:num_retracted_reqs_total', 'sglang:num_retracted_reqs'],
  },
  kvEvents: { kind: 'zmq' },
  // Its `/tokenize` takes prompts alone, and gives numbers without their texts (`serving_tokenize.py`).
  renders: undefined,
  // `serving_chat.py`, `parser/jinja_template_utils.py`, and the fields of `protocol.py` in their order.
  chatInput: {
    partSeparator: ' ',
    keepsParts: true,
    fields: { user: [], '*': ['tool_call_id', 'name', 'tool_calls'] },
    reasoning: ['reasoning_content'],
    tools: { description: null, name: null, parameters: null, strict: false },
    choosesTools: true,
    tellsEffort: true,
  },
  handsOver: undefined,
  // It puts the last message behind the prompt that leads to an answer (`serving_chat.py`).
  continues: new Map([['/v1/chat/completions', '"continue_final_message":true'], behindPrompt]),
  reportsProgress: false,
  reportsCachedTokens: true,
  offloads: {
    none: ['both'],
    nixl: ['prefill', 'decode'],
    lmcache: ['both'],
    hicache: ['both'],
  },
  evidence: [{ kind: 'constructed', from: "SGLang's documents" }],
};
