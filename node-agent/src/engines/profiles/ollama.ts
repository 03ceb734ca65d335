/**
 * Ollama. Settings as in its `docs/faq` and `envconfig/config.go`: all of them are variables. It serves whatever was
 * pulled and loads a model with the first request for it; which GPUs share one it decides itself.
 */
import type { EngineProfile } from './profile.ts';

export const ollama: EngineProfile = {
  name: 'ollama',
  launching: {
    program: 'ollama',
    helpArgv: ['serve', '--help'],
    release: { argv: ['--version'] },
    splits: 'any',
    namesModel: false,
    keepsKvOnDisk: [],
    // It lists what was pulled, each with its tag.
    isModel: (id, model) => id === model || id === `${model}:latest`,
    render: ({ config, host, ports }) => ({
      argv: ['serve'],
      environment: {
        OLLAMA_HOST: `${host}:${ports.http}`,
        // A model that is thrown out takes its cache with it.
        OLLAMA_KEEP_ALIVE: '-1',
        ...(config.tensorParallel === 1 ? {} : { OLLAMA_SCHED_SPREAD: '1' }),
      },
    }),
  },
  // It listens before any model is loaded: that one is shows only when it is asked something.
  health: { path: '/', whileLoading: 'no listener' },
  metrics: undefined,
  kvEvents: undefined,
  renders: undefined,
  handsOver: undefined,
  // Its templates decide what becomes of a last message, and are applied to the prompt of a completion, too.
  continues: new Map(),
  reportsProgress: false,
  reportsCachedTokens: false,
  offloads: { none: ['both'] },
  evidence: [{ kind: 'constructed', from: "Ollama's documents" }],
};
