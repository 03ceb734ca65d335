/**
 * What the agent has to know of one kind of engine, as data and pure functions: how it is launched, how it shows that
 * it is up, where its metrics, events and tokens are. One file for each kind beside this one, and the table in
 * `profiles.ts`. Nothing here does I/O, and no other file of the agent names an engine.
 */
import type { ChatInput } from '../chat-input.ts';
import type { KvEventEndpoints, KvOffload, LaunchedEngine, Role } from '../engine-config.ts';
import type { Continuing } from './continuing.ts';

/** Loopback ports that whoever launches has found free. */
export interface LaunchPorts {
  readonly http: number;
  /** For transfers of KV between engines; the first of `tensorParallel` ports in a row. */
  readonly transfer: number;
}

/** One replica that is about to be launched. */
export interface LaunchPlan {
  readonly config: LaunchedEngine;
  readonly role: Role;
  readonly kvOffload: KvOffload;
  readonly host: '127.0.0.1';
  readonly ports: LaunchPorts;
  /**
   * A directory of this replica's own that is there before its start, for what the engine reads then and for sockets
   * of its events.
   */
  readonly directory: string;
}

/** What a profile says of a plan. What `config` adds as it is (arguments, environment, GPUs) comes on top. */
export interface RenderedLaunch {
  readonly argv: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Path -> content; the paths are in the plan's `directory`. */
  readonly files?: Readonly<Record<string, string>>;
  /** Where events of the cache can be heard, if they are published. */
  readonly kvEvents?: KvEventEndpoints;
}

export interface Launching {
  /** Looked up on PATH, unless it is a path or the configuration names another. */
  readonly program: string;
  /** What makes the program show its options. */
  readonly helpArgv: readonly string[];
  /**
   * What prints its release, where that is quick and loads no model; `program`: beside the engine's own, in its
   * environment. Undefined: it has none of its own.
   */
  readonly release?: { readonly program?: string; readonly argv: readonly string[] };
  /** How many GPUs one replica can be split between. */
  readonly splits: 'any' | 'never';
  /** Whether it calls its model as the configuration says. */
  readonly namesModel: boolean;
  /** The offloads with which it keeps KV in a directory. */
  readonly keepsKvOnDisk: readonly KvOffload[];
  /** Which of the ids in its list is the model; undefined: it lists just the one that it was started with. */
  readonly isModel?: (id: string, model: string) => boolean;
  readonly render: (plan: LaunchPlan) => RenderedLaunch;
}

export interface Health {
  readonly path: string;
  /** How an engine looks that still loads its model; once loaded, the path answers 200. */
  readonly whileLoading: 'no listener' | 'status 503';
}

/** The names of one figure, newest first: the first that is there counts, the sum of its series. */
export type MetricNames = readonly string[];

export interface Metrics {
  readonly path: string;
  /** Requests. */
  readonly running: MetricNames;
  readonly waiting: MetricNames;
  /** A share from 0 to 1, or two figures of which it is the quotient. */
  readonly kvUsage: MetricNames | { readonly used: MetricNames; readonly capacity: MetricNames };
  /** Counters, in tokens. */
  readonly promptTokens: MetricNames;
  /** Whether `promptTokens` counts those that came from the cache too. */
  readonly promptTokensAreAll: boolean;
  readonly cachedTokens: MetricNames;
  readonly generatedTokens: MetricNames;
  readonly preemptions: MetricNames;
}

/** What the profile's facts were held against. */
export type Evidence =
  /** Answers of that program, which we did not write, are kept in a folder of `test/fakes/recordings`. */
  | { readonly kind: 'recorded'; readonly folder: string; readonly program: string }
  /** The program itself runs in the conformance suite. */
  | { readonly kind: 'run'; readonly program: string }
  /** Public documents and sources only. */
  | { readonly kind: 'constructed'; readonly from: string };

export interface EngineProfile {
  /** As the configuration writes it. */
  readonly name: string;
  /** Undefined: only engines that run already. */
  readonly launching: Launching | undefined;
  /** Undefined: nothing is known but the list of models. */
  readonly health: Health | undefined;
  readonly metrics: Metrics | undefined;
  /** How events of the cache are heard: subscribed to, or asked for at a path. */
  readonly kvEvents: { readonly kind: 'zmq' } | { readonly kind: 'poll'; readonly path: string } | undefined;
  /** How it shows the prompt that its template makes, and the tokens of that. */
  readonly renders: 'template, then tokens' | 'tokens of messages' | undefined;
  /** What it gives to a template, for an engine that shows no prompts; the agent then renders them itself. */
  readonly chatInput?: ChatInput;
  /** What of its cache it can give to another one of its kind: files of single slots. */
  readonly handsOver: 'slots' | undefined;
  /** How it goes on with an answer that another engine began. */
  readonly continues: Continuing;
  /** Whether a stream that asks for it by `return_progress` tells how far its prefill is. */
  readonly reportsProgress: boolean;
  /** Whether `usage` says how much of a prompt came from the cache. */
  readonly reportsCachedTokens: boolean;
  /** The pairs that the engine has. `none` is how it is without any help. */
  readonly offloads: Readonly<Partial<Record<KvOffload, readonly Role[]>>>;
  readonly evidence: readonly Evidence[];
}
