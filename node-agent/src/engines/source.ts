/**
 * Where a replica's engine comes from. An attached one runs already; a launched one is started and watched by who makes
 * its source (`supervise/`). The daemon starts and stops sources, and knows nothing else of them.
 */
import { join } from 'node:path';
import type { LaunchStatus } from '@cognitora/protocol/agent-status';
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { AttachedEngine, EngineConfig, KvEventEndpoints } from './engine-config.ts';

/** Who asks the engine's URL hears from its source. */
export interface SourceWatch {
  /** The engine answers at `url`, or is about to. */
  began(url: URL): void;
  /** It has ended; `why` in words, with what comes next. */
  ended(why: string): void;
}

export interface EngineSource {
  readonly config: EngineConfig;
  /** Where the engine answers, or will; a launched one's may change when it begins anew. */
  readonly url: URL;
  readonly kvEvents: KvEventEndpoints | undefined;
  /** Undefined: its process is not ours. */
  readonly launch: LaunchStatus | undefined;
  start(watch: SourceWatch): void;
  /** What its URL shows: whether it can serve. */
  seen(isReady: boolean): void;
  /** It shows no sign of life; `why` in words. */
  hung(why: string): void;
  /** Nobody new comes; who is there is served to the end. */
  drain(): void;
  /** The operator asks: what was given up is tried again. */
  retry(): void;
  /** Nobody uses the engine any more. Resolves when nothing of it is left that is ours. */
  stop(): Promise<void>;
}

export const attachedSource = (config: EngineConfig, { url, kvEvents }: AttachedEngine): EngineSource => ({
  config,
  url,
  kvEvents,
  launch: undefined,
  start: (watch) => watch.began(url),
  seen: () => {},
  // Not ours to end.
  hung: () => {},
  drain: () => {},
  retry: () => {},
  stop: () => Promise.resolve(),
});

/** A launched replica's own directory: its sockets, and what it reads at its start. */
export const replicaDirectory = (dataDirectory: string, name: ReplicaName): string =>
  join(dataDirectory, 'engines', name);

/** What nobody is told of an engine, though it may print it: its key, and what came to its environment from files. */
export const secretsOf = ({ apiKey, source }: EngineConfig): readonly string[] => [
  ...(apiKey === undefined ? [] : [apiKey]),
  ...(source.kind === 'launched' ? source.secrets : []),
];
