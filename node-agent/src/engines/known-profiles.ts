/** What the configuration has to know of engines' profiles: their names, and what each can do. */
import type { EngineConfig } from './engine-config.ts';

export interface KnownProfiles {
  readonly names: readonly [string, ...string[]];
  /** What is wrong with an engine's configuration, in words that say what is possible; undefined: nothing. */
  readonly check: (engine: EngineConfig) => string | undefined;
}

export const knownProfiles: KnownProfiles = {
  names: ['vllm', 'sglang', 'llama-cpp', 'trtllm', 'ollama', 'openai', 'embedded'],
  check: ({ profile, source }) =>
    profile === 'openai' && source.kind === 'launched'
      ? 'profile = "openai" is an engine of any kind that runs already: give its url, or name another.'
      : undefined,
};
