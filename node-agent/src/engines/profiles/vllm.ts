/**
 * vLLM. Flags as `vllm serve --help=all` of 0.32.0 shows them; connectors as in its
 * `distributed/kv_transfer/kv_connector/factory.py`; the KVBM connector as in Dynamo's `lib/bindings/kvbm/README.md`;
 * LMCache's variables as in its `docs/source/api_reference/configurations.rst`.
 */

import { behindPrompt, inFinalMessage } from './continuing.ts';
import { eventSockets } from './event-sockets.ts';
import { hostCacheBytes, hostCacheGigabytes, hostDiskGigabytes } from './host-cache.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

/** The `--kv-transfer-config` of a plan; the value has vLLM's own names. */
const transferConfig = ({ config, kvOffload }: LaunchPlan): object | undefined => {
  // NIXL takes `kv_both` for either side: which one a request means stands in its `kv_transfer_params`.
  const connector = (name: string) => ({ kv_connector: name, kv_role: 'kv_both' });
  switch (kvOffload) {
    case 'none':
      return undefined;
    case 'nixl':
      return connector('NixlConnector');
    case 'lmcache':
      return connector('LMCacheConnectorV1');
    case 'kvbm':
      return {
        ...connector('DynamoConnector'),
        kv_connector_module_path: 'kvbm.vllm_integration.connector',
      };
    case 'hicache':
      return {
        ...connector('OffloadingConnector'),
        kv_connector_extra_config: {
          cpu_bytes_to_use: hostCacheBytes,
          ...(config.kvDirectory === undefined
            ? {}
            : {
                spec_name: 'TieringOffloadingSpec',
                secondary_tiers: [{ type: 'fs', root_dir: config.kvDirectory }],
              }),
        },
      };
  }
};

const environmentOf = ({ config, kvOffload, host, ports }: LaunchPlan): Record<string, string> => {
  switch (kvOffload) {
    case 'nixl':
      // Of this host alone: an address that other hosts reach belongs into the configuration's environment.
      return {
        VLLM_NIXL_SIDE_CHANNEL_HOST: host,
        VLLM_NIXL_SIDE_CHANNEL_PORT: String(ports.transfer),
      };
    case 'lmcache':
      return {
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
    case 'kvbm':
      return {
        DYN_KVBM_CPU_CACHE_GB: String(hostCacheGigabytes),
        ...(config.kvDirectory === undefined
          ? {}
          : {
              DYN_KVBM_DISK_CACHE_DIR: config.kvDirectory,
              DYN_KVBM_DISK_CACHE_GB: String(hostDiskGigabytes),
            }),
      };
    default:
      return {};
  }
};

const argvOf = (plan: LaunchPlan): readonly string[] => {
  const { config, host, ports } = plan;
  const { events: endpoint, replay } = eventSockets(plan);
  const events = {
    enable_kv_cache_events: true,
    publisher: 'zmq',
    endpoint,
    replay_endpoint: replay,
    topic: 'kv-events',
  };
  const transfer = transferConfig(plan);
  return [
    ...['serve', config.model, '--host', host, '--port', String(ports.http)],
    ...(config.servedName === undefined ? [] : ['--served-model-name', config.servedName]),
    ...(config.tensorParallel === 1 ? [] : ['--tensor-parallel-size', String(config.tensorParallel)]),
    '--enable-prefix-caching',
    // The only one whose hashes agree between hosts and can be computed elsewhere: pickle's bytes differ by version.
    ...['--prefix-caching-hash-algo', 'sha256_cbor'],
    '--enable-prompt-tokens-details',
    ...['--kv-events-config', JSON.stringify(events)],
    ...(transfer === undefined ? [] : ['--kv-transfer-config', JSON.stringify(transfer)]),
  ];
};

export const vllm: EngineProfile = {
  name: 'vllm',
  launching: {
    program: 'vllm',
    helpArgv: ['serve', '--help=all'],
    release: { argv: ['--version'] },
    splits: 'any',
    namesModel: true,
    keepsKvOnDisk: ['lmcache', 'hicache', 'kvbm'],
    render: (plan) => ({
      argv: argvOf(plan),
      environment: environmentOf(plan),
      kvEvents: eventSockets(plan),
    }),
  },
  health: { path: '/health', whileLoading: 'no listener' },
  metrics: {
    path: '/metrics',
    running: ['vllm:num_requests_running'],
    waiting: ['vllm:num_requests_waiting'],
    kvUsage: ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'],
    promptTokens: ['vllm:prompt_tokens_total'],
    promptTokensAreAll: true,
    cachedTokens: ['vllm:prompt_tokens_cached_total', 'vllm:prefix_cache_hits_total'],
    generatedTokens: ['vllm:generation_tokens_total'],
    preemptions: ['vllm:num_preemptions_total'],
  },
  kvEvents: { kind: 'zmq' },
  renders: 'tokens of messages',
  handsOver: undefined,
  continues: new Map([inFinalMessage, behindPrompt]),
  reportsProgress: false,
  reportsCachedTokens: true,
  offloads: {
    none: ['both'],
    nixl: ['both', 'prefill', 'decode'],
    lmcache: ['both'],
    hicache: ['both'],
    kvbm: ['both'],
  },
  evidence: [{ kind: 'recorded', folder: 'vllm', program: 'vLLM 0.32.0 for CPUs' }],
};
