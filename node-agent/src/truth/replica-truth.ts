/**
 * The truth of one replica: what room its cache has and how its prompts are written, found anew each time the engine
 * comes up, and one feed for each model in use. An engine that went away took its cache with it: that is said before
 * anything else. Owns the feeds' sources; the requests that are served write to their ledgers.
 *
 *   engine ready -> room -> profile of each model -> feed open -> requests are watched, those that waited first
 *          gone  -> every feed cleared, at once
 */

import type { Trust } from '@cognitora/protocol/kv';
import { prefixBlocksMax } from '@cognitora/protocol/limits';
import type { OpenRequest, PrefixTerms, ReplicaReport } from '@cognitora/protocol/link';
import { type InferencePath, inferenceEndpoints } from '@cognitora/protocol/openai';
import { type ChainOptions, rootKey } from '@cognitora/protocol/prefix/chain';
import type { Ask } from '../engines/ask.ts';
import { AwaitedPrompt, awaitedPromptsMax } from './awaited-prompt.ts';
import { type CacheModel, type Capacity, noGuess } from './cache-model.ts';
import { findCapacity } from './capacity.ts';
import { isContinuedChat } from './continued-turn.ts';
import type { EventSource } from './events/event-source.ts';
import { ExactModel } from './events/exact-model.ts';
import { RankBlocks } from './events/rank-blocks.ts';
import type { KvEvent } from './events/wire.ts';
import type { HostBlocks } from './host-blocks.ts';
import type { FeedSource, KvFeeds } from './kv-feeds.ts';
import { KvLedger } from './kv-ledger.ts';
import { PagedCache } from './paged-cache.ts';
import { type FoundProfile, findProfile } from './prompt-profile.ts';
import type { RenderWay } from './render/render.ts';
import { type Keeping, type PromptWatch, ServedPrompt, type SettledPrompt } from './served-prompt.ts';
import { SlotCache } from './slot-cache.ts';

/** Up to so many models are looked at before they are used; of more (adapters, a catalogue) those that are. */
const lookedAtAheadMax = 4;
/** Of common text; what a prompt shows counts more. */
const bytesPerToken = 4;

export interface ReplicaTruthOptions {
  readonly name: ReplicaReport['name'];
  readonly ask: Ask;
  readonly terms: PrefixTerms;
  readonly feeds: KvFeeds;
  readonly keeping: Keeping;
  readonly monotonicMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
  /** What an engine calls a model that is offered under this name. */
  readonly servedName: (model: string) => string | undefined;
  /** The ways to render its prompts, of which one life of the engine takes the first that works. */
  readonly openWays: () => readonly RenderWay[];
  readonly onFound: (model: string, found: FoundProfile) => void;
  /** Prompts that this host renders itself are not the engine's: its model is known approximately at most. */
  readonly onDoubt: (model: string, why: string) => void;
  /** Where the engine publishes events of its cache. */
  readonly events: EventSource | undefined;
  /** What its host keeps beside the engine; undefined: nothing. */
  readonly host?: HostBlocks | undefined;
  /** An answer ended as it should, and what it left behind is known; undefined: nobody asks. */
  readonly onSettled?: ((settled: SettledPrompt) => void) | undefined;
}

/** One start of the engine. */
interface Life {
  readonly ways: readonly RenderWay[];
  readonly cache: Promise<CacheModel>;
  /** By served name. */
  readonly profiles: Map<string, Promise<FoundProfile | undefined>>;
  /** Models that are looked at, or that have a feed of this life, or could get none. */
  readonly known: Set<string>;
  /** Of those, the ones that are looked at now. */
  readonly sought: Set<string>;
  /** Requests for them, the oldest first. */
  awaited: AwaitedPrompt[];
  /** One model is looked at after the other. */
  looking: Promise<void>;
}

interface OpenModel {
  readonly source: FeedSource;
  readonly chain: ChainOptions;
  readonly cache: CacheModel;
  /** The guess that would be made without events. */
  readonly cacheAnyway: CacheModel;
  readonly life: Life;
  readonly exact: ExactModel | undefined;
}

const isInferencePath = (path: string): path is InferencePath => Object.hasOwn(inferenceEndpoints, path);

export class ReplicaTruth {
  readonly #options: ReplicaTruthOptions;
  #life: Life | undefined;
  #names: ReadonlySet<string> = new Set();
  readonly #models = new Map<string, OpenModel>();
  readonly #blocks: RankBlocks;
  #isFollowing = false;

  constructor(options: ReplicaTruthOptions) {
    this.#options = options;
    const { events } = options;
    this.#blocks = new RankBlocks(events?.ranks);
    if (events?.isTakenAway === false) this.#follow(events);
  }

  /** What the engine is now. Call it before the edge hears the report. */
  changed({ state, models }: ReplicaReport): void {
    if (state !== 'ready') {
      this.#over();
      return;
    }
    this.#names = new Set(models.map(({ id }) => id));
    for (const name of this.#models.keys()) if (!this.#names.has(name)) this.#close(name);
    this.#life ??= this.#begin();
    if (this.#names.size <= lookedAtAheadMax) for (const name of this.#names) this.#look(name);
  }

  /** What the edge is told of, model by model. */
  get caches(): readonly { readonly model: string; readonly trust: Trust }[] {
    return [...this.#models].map(([model, { source }]) => ({ model, trust: source.trust }));
  }

  /** How a request is written down; undefined when its model gets no feed, and nothing has to be kept. */
  watch(open: OpenRequest): PromptWatch | undefined {
    const { model: name, path } = open;
    const model = this.#models.get(name);
    const life = this.#life;
    if (model !== undefined && model.life === life) return this.#servedPrompt(model, open);
    this.#look(name);
    if (life === undefined || !life.sought.has(name) || !this.#names.has(name)) return undefined;
    if (!isInferencePath(path)) return undefined;
    const prompt = new AwaitedPrompt(open, this.#options.keeping);
    life.awaited.push(prompt);
    if (life.awaited.length > awaitedPromptsMax) life.awaited.shift()?.forget();
    return prompt;
  }

  #servedPrompt(model: OpenModel, open: OpenRequest): ServedPrompt | undefined {
    const { model: name, path, stream, bodyBytes } = open;
    if (!isInferencePath(path)) return undefined;
    const { chain, cache, life, source, exact } = model;
    return new ServedPrompt({
      keeping: this.#options.keeping,
      path,
      isStream: stream,
      bodyBytes,
      isContinued: isContinuedChat(open),
      chain,
      cache,
      ledger: source.ledger,
      isOver: () => this.#models.get(name) !== model || this.#life !== life,
      onChange: () => this.#options.feeds.changed(),
      onPrompt: exact && ((request, usage) => void exact.saw(request, usage)),
      onSettled: this.#options.onSettled,
    });
  }

  /** The replica is served no longer. */
  close(): void {
    this.#endLife();
    this.#options.events?.close();
    for (const name of [...this.#models.keys()]) this.#close(name);
  }

  #follow(events: EventSource): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    events.follow((heard, rank) => this.#heard(heard, rank));
  }

  /** What comes from an engine that is gone counts no longer. */
  #heard(events: readonly KvEvent[], rank: number): void {
    if (this.#life === undefined) return;
    const changes = this.#blocks.apply(events, rank);
    for (const { exact } of this.#models.values()) exact?.changed(changes);
  }

  #endLife(): void {
    for (const prompt of this.#life?.awaited.splice(0) ?? []) prompt.forget();
    for (const way of this.#life?.ways ?? []) way.close?.();
    this.#life = undefined;
  }

  #begin(): Life {
    const { ask, openWays } = this.#options;
    return {
      ways: openWays(),
      cache: findCapacity(ask).then((capacity) => this.#cacheOf(capacity)),
      profiles: new Map(),
      known: new Set(),
      sought: new Set(),
      awaited: [],
      looking: Promise.resolve(),
    };
  }

  #cacheOf(capacity: Capacity): CacheModel {
    if (capacity.kind === 'slots') return new SlotCache(capacity.slots);
    const { tokens, isGuess } = capacity;
    return new PagedCache(tokens, this.#options.terms.blockBytes / bytesPerToken, isGuess);
  }

  #over(): void {
    if (this.#life === undefined) return;
    this.#endLife();
    this.#blocks.clear();
    this.#options.events?.reset();
    for (const { source } of this.#models.values()) {
      source.ledger.clear();
      this.#options.feeds.changedNow(source);
    }
  }

  #look(name: string): void {
    const life = this.#life;
    if (life === undefined || life.known.has(name) || !this.#names.has(name)) return;
    life.known.add(name);
    life.sought.add(name);
    life.looking = life.looking
      .then(() => this.#lookAt(name, life))
      .then(() => {
        life.sought.delete(name);
        this.#repeatAwaited(name, life);
      });
  }

  /** Those that waited for this model: one after the other, when nobody waits for anything. */
  #repeatAwaited(name: string, life: Life): void {
    const waited = life.awaited.filter(({ open }) => open.model === name);
    life.awaited = life.awaited.filter(({ open }) => open.model !== name);
    for (const prompt of waited) {
      this.#options.keeping.later(() => {
        const model = this.#models.get(name);
        const isOpen = model?.life === life && this.#life === life;
        const served = isOpen ? this.#servedPrompt(model, prompt.open) : undefined;
        if (served === undefined) prompt.forget();
        else prompt.repeatTo(served);
      });
    }
  }

  /** Never rejects. */
  async #lookAt(name: string, life: Life): Promise<void> {
    const served = this.#options.servedName(name);
    const cache = await life.cache;
    if (served === undefined || this.#life !== life) return;
    const profile = life.profiles.get(served) ?? this.#find(served, life);
    life.profiles.set(served, profile);
    const found = await profile;
    if (found === undefined || this.#life !== life || !this.#names.has(name)) return;
    this.#open(name, served, found, cache, life);
    this.#options.onFound(name, found);
  }

  #find(served: string, life: Life): Promise<FoundProfile | undefined> {
    const { ask, monotonicMs, pause, onDoubt } = this.#options;
    const isOver = (): boolean => this.#life !== life;
    const told = (why: string): void => onDoubt(served, why);
    return findProfile({ ask, served, ways: life.ways, monotonicMs, pause, isOver, onDoubt: told });
  }

  /** What this host rendered is not what the engine has: of its prompts only their profile is still a good guess. */
  #doubt(served: string, found: FoundProfile, life: Life, why: string): void {
    if (this.#life !== life) return;
    this.#options.onDoubt(served, why);
    const guess: FoundProfile = { ...found, way: undefined, showsTokens: false };
    life.profiles.set(served, Promise.resolve(guess));
    for (const way of life.ways) if (way.isOurs === true) way.close?.();
    for (const [name, { cacheAnyway, life: opened }] of [...this.#models]) {
      const isIt = opened === life && this.#options.servedName(name) === served;
      if (isIt) this.#open(name, served, guess, cacheAnyway, life);
    }
  }

  /** A feed of an earlier life goes on, if prompts are still written alike. */
  #open(name: string, served: string, found: FoundProfile, cache: CacheModel, life: Life): void {
    const { terms, feeds, host, name: replica } = this.#options;
    const { profile } = found;
    const before = this.#models.get(name);
    const trust = this.#isTold(found) ? 'exact' : 'approximate';
    const isSame = before?.source.profile.id === profile.id && before.source.trust === trust;
    if (before !== undefined && !isSame) this.#close(name);
    const source: FeedSource =
      isSame && before !== undefined
        ? before.source
        : { replica, model: name, trust, profile, ledger: new KvLedger(), host: host?.open() };
    life.known.add(name);
    if (!isSame && !feeds.open(source)) {
      this.#forgetHost(source);
      return;
    }
    const root = rootKey({ salt: terms.salt, model: name, profile });
    const chain = { root, profile, blockBytes: terms.blockBytes, blocksMax: prefixBlocksMax };
    if (trust === 'exact' && this.#options.events !== undefined) this.#follow(this.#options.events);
    const onDoubt = (why: string): void => this.#doubt(served, found, life, why);
    const exact =
      trust === 'exact' ? this.#exactModel(served, found, chain, source.ledger, onDoubt) : undefined;
    const used = exact === undefined ? cache : noGuess;
    this.#models.set(name, { source, chain, cache: used, cacheAnyway: cache, life, exact });
  }

  /** Events name tokens, not models: where an engine has several, nobody can tell whose they are. */
  #isTold({ showsTokens }: FoundProfile): boolean {
    const { events, servedName } = this.#options;
    const served = new Set([...this.#names].map(servedName));
    return events !== undefined && showsTokens && served.size === 1;
  }

  #exactModel(
    served: string,
    found: FoundProfile,
    chain: ChainOptions,
    ledger: KvLedger,
    onDoubt: (why: string) => void,
  ): ExactModel | undefined {
    const { ask, feeds, monotonicMs } = this.#options;
    if (found.way === undefined) return undefined;
    const onChange = (): void => feeds.changed();
    return new ExactModel({
      ask,
      served,
      way: found.way,
      found,
      chain,
      ledger,
      blocks: this.#blocks,
      ...{ onChange, onDoubt, monotonicMs },
    });
  }

  #close(name: string): void {
    const model = this.#models.get(name);
    if (model === undefined) return;
    this.#models.delete(name);
    this.#life?.known.delete(name);
    model.cache.forget(model.source.ledger);
    this.#options.feeds.close(model.source);
    this.#forgetHost(model.source);
  }

  #forgetHost({ host }: FeedSource): void {
    if (host !== undefined) this.#options.host?.close(host);
  }
}
