/**
 * What this host knows of its engines' caches, and tells the edge: one truth for each replica, the feeds of the link,
 * and the terms that the edge sets for digests. The composition of the parts beside it; decides nothing. An edge that
 * sets no terms hears nothing, and then nothing is kept.
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { KvWant } from '@cognitora/protocol/kv';
import type { OpenRequest, PrefixTerms } from '@cognitora/protocol/link';
import type { Clock } from '../clock.ts';
import { asker } from '../engines/ask.ts';
import type { Engine } from '../engines/engine.ts';
import type { KvEventEndpoints } from '../engines/engine-config.ts';
import type { TokenizerHint } from '../engines/tokenizer-hint.ts';
import type { Log } from '../log.ts';
import type { EventSource } from './events/event-source.ts';
import { pollSource } from './events/poll-source.ts';
import { zeromqSource } from './events/zeromq-source.ts';
import { HostBlocks } from './host-blocks.ts';
import { KvFeeds, type KvLink } from './kv-feeds.ts';
import type { FoundProfile } from './prompt-profile.ts';
import { TokenizerProcesses } from './render/local/tokenizer-processes.ts';
import { localTokenizer } from './render/local-tokenizer.ts';
import { type RenderWay, renderWays } from './render/render.ts';
import { ReplicaTruth } from './replica-truth.ts';
import type { Keeping, PromptWatch, ReadReply, SettledPrompt } from './served-prompt.ts';

/** Where an engine tells of its cache. */
export type EventPlace =
  | { readonly kind: 'zmq'; readonly endpoints: KvEventEndpoints }
  | { readonly kind: 'poll'; readonly path: string };

export interface KvTruthOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly readReply: ReadReply;
  readonly engines: ReadonlyMap<ReplicaName, Engine>;
  /** Of the engines that publish events. */
  readonly events: ReadonlyMap<ReplicaName, EventPlace>;
  /** Of the engines whose chats this host may render itself, where they do not. */
  readonly tokenizers: ReadonlyMap<ReplicaName, TokenizerHint>;
  /** A replica's answer ended, and what it left in the cache is known; undefined: nobody asks. */
  readonly onSettled?: (replica: ReplicaName, settled: SettledPrompt) => void;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

export class KvTruth {
  readonly #options: KvTruthOptions;
  readonly #feeds = new KvFeeds();
  readonly #keeping: Keeping;
  readonly #replicas = new Map<ReplicaName, ReplicaTruth>();
  readonly #hosts = new Map<ReplicaName, HostBlocks>();
  readonly #processes = new TokenizerProcesses();
  #terms: PrefixTerms | undefined;
  #link: KvLink | undefined;

  constructor(options: KvTruthOptions) {
    this.#options = options;
    const { readReply } = options;
    this.#keeping = { bytes: 0, later: (run) => setImmediate(() => this.#try(run)), readReply };
  }

  /** An engine's report changed. Call it before the edge hears. */
  changed(engine: Engine): void {
    this.#replicas.get(engine.name)?.changed(engine.report);
  }

  /** A link is open, and the edge has heard of the replicas. */
  linked(link: KvLink, terms: PrefixTerms | undefined): void {
    this.#link = link;
    if (terms?.salt !== this.#terms?.salt || terms?.blockBytes !== this.#terms?.blockBytes) {
      this.#agree(terms);
    }
    if (terms !== undefined) this.#feeds.linked(link);
  }

  /** A link is over, if it is still the latest. */
  unlinked(link: KvLink): void {
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#feeds.unlinked();
  }

  wanted(link: KvLink, want: KvWant): void {
    if (link === this.#link) this.#feeds.wanted(want);
  }

  idle(link: KvLink): void {
    if (link === this.#link) this.#feeds.idle();
  }

  /** What the edge is told of a replica's caches. */
  cachesOf(replica: ReplicaName): ReplicaTruth['caches'] {
    return this.#replicas.get(replica)?.caches ?? [];
  }

  /** What the replica's host keeps beside its engine: who knows that writes it there. */
  hostOf(replica: ReplicaName): HostBlocks {
    const host = this.#hosts.get(replica) ?? new HostBlocks(() => this.#feeds.changed());
    this.#hosts.set(replica, host);
    return host;
  }

  /** How a request is written down; undefined when nobody wants to know. */
  watch(open: OpenRequest): PromptWatch | undefined {
    return this.#replicas.get(open.replica)?.watch(open);
  }

  stop(): void {
    this.#agree(undefined);
    this.#feeds.unlinked();
  }

  /** What a prompt holds must not end the agent. */
  #try(run: () => void): void {
    try {
      run();
    } catch (thrown) {
      this.#options.log('warn', 'a prompt is not digested', { why: String(thrown) });
    }
  }

  /** Digests of other terms mean nothing under these. */
  #agree(terms: PrefixTerms | undefined): void {
    this.#feeds.unlinked();
    for (const replica of this.#replicas.values()) replica.close();
    this.#replicas.clear();
    this.#terms = terms;
    if (terms === undefined) return;
    for (const engine of this.#options.engines.values()) {
      const replica = this.#truthOf(engine, terms);
      this.#replicas.set(engine.name, replica);
      replica.changed(engine.report);
    }
  }

  #eventsOf(engine: Engine): EventSource | undefined {
    const { log, events } = this.#options;
    const place = events.get(engine.name);
    if (place === undefined) return undefined;
    if (place.kind === 'zmq') return zeromqSource({ ...place.endpoints, log, pause });
    return pollSource({ ask: asker(engine), path: place.path, pause, log });
  }

  /** The engine's own ways go first. */
  #openWays({ name: engine }: Engine): readonly RenderWay[] {
    const { log, tokenizers, events } = this.#options;
    // Without events it is only a better guess of how prompts are written.
    const level = events.has(engine) ? 'warn' : 'info';
    const hint = tokenizers.get(engine);
    if (hint === undefined) return renderWays;
    const local = localTokenizer({
      ...hint,
      processes: this.#processes,
      onFound: (found) => {
        if ('directory' in found) log('info', 'tokenizer', { engine, directory: found.directory });
        else
          log(level, 'no tokenizer: set "tokenizer" of this engine', {
            engine,
            sought: found.sought.join(', '),
          });
      },
    });
    return [...renderWays, local];
  }

  #truthOf(engine: Engine, terms: PrefixTerms): ReplicaTruth {
    const { clock, log, onSettled } = this.#options;
    return new ReplicaTruth({
      name: engine.name,
      ask: asker(engine),
      terms,
      feeds: this.#feeds,
      keeping: this.#keeping,
      monotonicMs: () => clock.monotonicMs(),
      pause,
      servedName: (model) => engine.model(model)?.served,
      events: this.#eventsOf(engine),
      host: this.hostOf(engine.name),
      onSettled: onSettled && ((settled) => onSettled(engine.name, settled)),
      openWays: () => this.#openWays(engine),
      onDoubt: (model, why) =>
        log('warn', "prompts that this host renders are not the engine's: known approximately", {
          engine: engine.name,
          model,
          why,
        }),
      onFound: (model, found) => log('info', 'prompt profile', factsOf(engine, model, found)),
    });
  }
}

const factsOf = ({ name }: Engine, model: string, { profile, way }: FoundProfile) => ({
  engine: name,
  model,
  profile: profile.id,
  claims: profile.claims,
  isRendered: way !== undefined,
});
