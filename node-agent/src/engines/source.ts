/**
 * Where a replica's engine comes from. An attached one runs already; a launched one is started and watched by who makes
 * its source. The daemon starts and stops sources, and knows nothing else of them.
 */
import type { AttachedEngine, EngineConfig, KvEventEndpoints } from './engine-config.ts';

export interface EngineSource {
  readonly config: EngineConfig;
  /** Where the engine answers, or will. */
  readonly url: URL;
  readonly kvEvents: KvEventEndpoints | undefined;
  start(): void;
  /** Nobody uses the engine any more. Resolves when nothing of it is left that is ours. */
  stop(): Promise<void>;
}

const attachedSource = (config: EngineConfig, { url, kvEvents }: AttachedEngine): EngineSource => ({
  config,
  url,
  kvEvents,
  start: () => {},
  stop: () => Promise.resolve(),
});

/** Those of the engines that run already. */
export const attachedSources = (engines: readonly EngineConfig[]): readonly EngineSource[] =>
  engines.flatMap((config) =>
    config.source.kind === 'attached' ? [attachedSource(config, config.source)] : [],
  );
