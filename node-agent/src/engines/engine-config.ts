/**
 * What the configuration says of one replica's engine. Types only, shared by the parser, the profiles that render them
 * into arguments, and the supervisor that runs those.
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { ReplicaRole } from '@cognitora/protocol/link';
import type { EngineTimeouts } from './timeouts.ts';

export { type ReplicaRole as Role, replicaRoles as roles } from '@cognitora/protocol/link';

export const kvOffloads = ['none', 'nixl', 'lmcache', 'hicache', 'kvbm'] as const;
export type KvOffload = (typeof kvOffloads)[number];

/** Where an engine publishes events of its cache, and where it answers for those that were missed. */
export interface KvEventEndpoints {
  readonly events: string;
  readonly replay: string | undefined;
  /** Of data parallelism, each with a cache and ports of its own, counted up from these; one unless said. */
  readonly ranks?: number;
}

/** An engine that runs already. */
export interface AttachedEngine {
  readonly kind: 'attached';
  /** With or without a trailing `/v1`; with another path the base of an API (`enginePath`). */
  readonly url: URL;
  readonly kvEvents: KvEventEndpoints | undefined;
  /** On which it runs, as `nvidia-smi` numbers them; empty: nobody said. */
  readonly gpus: readonly number[];
  /** Where it saves slots, on this host; undefined: nowhere that we know. */
  readonly kvDirectory: string | undefined;
}

/** An engine that the agent starts and watches. */
export interface LaunchedEngine {
  readonly kind: 'launched';
  /** The program, if not the profile's own. */
  readonly command: string | undefined;
  /** A path, or a name that the engine knows how to fetch. */
  readonly model: string;
  /** What the engine shall call it; undefined: as it likes. */
  readonly servedName: string | undefined;
  /** For `CUDA_VISIBLE_DEVICES`, by their places on the bus; empty: not set. */
  readonly gpus: readonly number[];
  /** 1 unless the model is split between that many GPUs. */
  readonly tensorParallel: number;
  /** Appended as they are. */
  readonly arguments: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  /** Those of its values that nobody is told. */
  readonly secrets: readonly string[];
  /** How long it may take until it is ready. */
  readonly loadingMsMax: number;
  /** Where the engine keeps what it moves or offloads; undefined: nowhere. */
  readonly kvDirectory: string | undefined;
}

export interface EngineConfig {
  /** Unique on this host. */
  readonly name: ReplicaName;
  /** A profile's name. */
  readonly profile: string;
  readonly role: ReplicaRole;
  readonly kvOffload: KvOffload;
  readonly source: AttachedEngine | LaunchedEngine;
  /** Public name -> served name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Sent as a bearer token; from the environment or a file. */
  readonly apiKey: string | undefined;
  /** Where its tokenizer is: a directory or a hub's name; undefined: nobody said. */
  readonly tokenizer?: string | undefined;
  /** Absent: as for any engine. */
  readonly timeouts?: EngineTimeouts;
}
