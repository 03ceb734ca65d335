/**
 * llama.cpp's `llama-server`. Flags as in its `tools/server/README.md`; behaviour as observed on build b9021. Splits a
 * model between the GPUs it sees by itself.
 */
import { behindPrompt, inFinalMessage } from './continuing.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

const argvOf = ({ config, host, ports }: LaunchPlan): readonly string[] => [
  ...['--model', config.model, '--host', host, '--port', String(ports.http)],
  ...(config.servedName === undefined ? [] : ['--alias', config.servedName]),
  ...(config.tensorParallel === 1 ? [] : ['--split-mode', 'row']),
  ...['--metrics', '--slots'],
  ...(config.kvDirectory === undefined ? [] : ['--slot-save-path', config.kvDirectory]),
];

export const llamaCpp: EngineProfile = {
  name: 'llama-cpp',
  launching: {
    program: 'llama-server',
    helpArgv: ['--help'],
    release: { argv: ['--version'] },
    splits: 'any',
    namesModel: true,
    keepsKvOnDisk: ['none'],
    render: (plan) => ({ argv: argvOf(plan) }),
  },
  health: { path: '/health', whileLoading: 'status 503' },
  metrics: {
    path: '/metrics',
    running: ['llamacpp:requests_processing'],
    waiting: ['llamacpp:requests_deferred'],
    // Gone from newer builds.
    kvUsage: ['llamacpp:kv_cache_usage_ratio'],
    promptTokens: ['llamacpp:prompt_tokens_total'],
    promptTokensAreAll: false,
    cachedTokens: [],
    generatedTokens: ['llamacpp:tokens_predicted_total'],
    preemptions: [],
  },
  kvEvents: undefined,
  renders: 'template, then tokens',
  handsOver: 'slots',
  // Builds before May 2026 do so without being told, and leave these members alone.
  continues: new Map([inFinalMessage, behindPrompt]),
  reportsProgress: true,
  reportsCachedTokens: true,
  offloads: { none: ['both'] },
  evidence: [
    { kind: 'recorded', folder: 'llama-server', program: "llama.cpp's server of xllamacpp 2026.10.11549" },
  ],
};
