/**
 * Brings a recipe up in this process and keeps it until it is asked to end: edge (or none, where another is joined),
 * kvcached, agent, in the order in which they need each other. The processes are `Fleet`'s; what stands here is the
 * order, the waiting, and what is said meanwhile.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@cognitora/protocol/errors';
import { AdminClient } from '../admin-client.ts';
import { askAgent, statusFileIn } from '../agent-client.ts';
import { monotonicMs } from '../clock.ts';
import { type Credentials, loadOrCreateCredentials, saveCredentials } from '../credentials.ts';
import { withFile } from '../file-trouble.ts';
import { Fleet } from '../fleet.ts';
import { issueTokens } from '../issued-tokens.ts';
import { UserError } from '../terminal.ts';
import type { Served } from './keeper-lines.ts';
import type { Recipe } from './recipe.ts';
import { kvDirectory, renderRecipe } from './render.ts';
import {
  type Growth,
  isReady,
  replicaWords,
  type Stage,
  StageClock,
  stageOf,
  stages,
  whyGivenUp,
} from './stages.ts';
import type { StorePlace } from './stores/store.ts';
import { storeOf } from './stores/stores.ts';

/** Between two looks at the engines: a person sees progress, and an agent is not busy with it. */
const lookMs = 500;

export interface BringUpOptions {
  readonly recipe: Recipe;
  readonly dataDirectory: string;
  /** Of an edge of our own. */
  readonly port: number;
  /** The edge to join; undefined: one of our own is started. */
  readonly joined: string | undefined;
  /** Of that edge; an enrolled host needs none. */
  readonly joinToken: string;
  readonly tell: (step: string, text: string) => void;
  readonly signal: AbortSignal;
}

const makeDirectory = (path: string): void =>
  withFile(path, () => void mkdirSync(path, { recursive: true, mode: 0o700 }));

/** The daemons' files as they are run; returns where they lie. */
const writeFiles = (recipe: Recipe, dataDirectory: string) => {
  const directory = join(dataDirectory, 'recipe');
  makeDirectory(directory);
  for (const [at, engine] of recipe.engines.entries()) {
    // kvcached watches it before the engine writes there.
    if (engine.kv_directory) makeDirectory(kvDirectory(dataDirectory, at));
  }
  const rendered = renderRecipe(recipe, dataDirectory);
  const write = (name: string, text: string): string => {
    const path = join(directory, name);
    withFile(path, () => writeFileSync(path, text, { mode: 0o600 }));
    return path;
  };
  return {
    agentConfig: write('agent.toml', rendered.agent),
    kvcachedConfig: rendered.kvcached === undefined ? undefined : write('kvcached.toml', rendered.kvcached),
  };
};

export class BringUp {
  readonly #options: BringUpOptions;
  readonly #fleet: Fleet;
  readonly #credentials: Credentials;
  readonly #place: StorePlace;
  readonly #clock = new StageClock('start', monotonicMs());
  /** Of the model, at the last look. */
  #bytes = 0;
  /** Names of engines that are asked to fetch their model. */
  readonly #fetching = new Set<string>();
  #fetchFailed: UserError | undefined;

  constructor(options: BringUpOptions) {
    const { recipe, dataDirectory, port, tell } = options;
    this.#options = options;
    this.#place = { id: recipe.model.id, dataDirectory, environment: process.env };
    // A host that joins needs no admin key; what it would get is never used.
    this.#credentials =
      options.joined === undefined
        ? loadOrCreateCredentials(dataDirectory)
        : { adminKey: '', fleetSecret: '' };
    const started = {
      model: recipe.model.name,
      engineUrls: [],
      profile: undefined,
      aliases: [],
      replicas: 0,
    };
    this.#fleet = new Fleet({
      settings: { ...started, port, dataDirectory, kvcached: undefined, origins: [], json: true },
      credentials: this.#credentials,
      progress: { update: tell },
      ...writeFiles(recipe, dataDirectory),
    });
  }

  /** Rejects when a part can't be kept running. */
  get failed(): Promise<never> {
    return this.#fleet.failed;
  }

  stop(): Promise<void> {
    return this.#fleet.stop();
  }

  kill(): void {
    this.#fleet.kill();
  }

  /** Resolves once requests are served. Rejects with a `UserError`. */
  async served(): Promise<Served> {
    const { recipe, joined, joinToken, tell, signal } = this.#options;
    const store = storeOf(recipe.model.store);
    if (!store.isThere(this.#place) && store.fetchBefore !== undefined) {
      this.#clock.enter('download', monotonicMs());
      await store.fetchBefore(this.#place, (text) => tell('model', text), signal);
    }
    this.#clock.enter('start', monotonicMs());
    this.#bytes = store.bytesThere?.(this.#place) ?? 0;
    const started = await Promise.race([
      joined === undefined ? this.#startEdge() : { edge: joined, joinToken },
      this.failed,
    ]);
    await Promise.race([this.#fleet.startKvcached(), this.failed]);
    await this.#fleet.startAgent(started.edge, started.joinToken);
    await Promise.race([this.#untilReady(), this.failed]);
    this.#clock.enter('answer', monotonicMs());
    const own = 'apiKey' in started ? await this.#firstAnswer(started) : undefined;
    return {
      edge: started.edge,
      times: this.#clock.times(monotonicMs()),
      ...(own === undefined ? {} : { own }),
    };
  }

  async #startEdge(): Promise<{
    readonly edge: string;
    readonly joinToken: string;
    readonly apiKey: string;
  }> {
    const { dataDirectory } = this.#options;
    const edge = await this.#fleet.startEngines().startEdge();
    const client = new AdminClient(edge, this.#credentials.adminKey, dataDirectory);
    const { credentials, joinToken } = await issueTokens(client, this.#credentials);
    saveCredentials(dataDirectory, credentials);
    return { edge, joinToken, apiKey: credentials.apiKey };
  }

  async #firstAnswer({ edge, apiKey }: { edge: string; apiKey: string }): Promise<Served['own']> {
    await Promise.race([this.#fleet.untilServed(edge, apiKey), this.failed]);
    const { model, surface } = this.#fleet.served ?? {};
    if (model === undefined || surface === undefined) throw new UserError('It was ended before it served.');
    return { apiKey, model, path: surface.path, example: surface.example };
  }

  /** Every replica is ready and the link is there. */
  async #untilReady(): Promise<void> {
    const { recipe, dataDirectory, signal } = this.#options;
    const wanted = recipe.engines.reduce((sum, { replicas }) => sum + replicas, 0);
    while (!signal.aborted) {
      const file = statusFileIn(join(dataDirectory, 'agent'));
      const status = file && (await askAgent(file).catch(() => undefined));
      if (this.#fetchFailed !== undefined) throw this.#fetchFailed;
      if (status !== undefined) {
        const { replicas, link } = status;
        this.#look(replicas);
        const areReady = replicas.length >= wanted && replicas.every(isReady);
        if (areReady && link.state === 'linked') return;
      }
      await delay(lookMs, undefined, { signal }).catch(() => {});
    }
  }

  /** Says where each replica is, and throws for one that gave up. */
  #look(replicas: Awaited<ReturnType<typeof askAgent>>['replicas']): void {
    const { recipe, tell } = this.#options;
    const store = storeOf(recipe.model.store);
    const nowBytes = store.bytesThere?.(this.#place) ?? 0;
    const growth: Growth = { beforeBytes: this.#bytes, nowBytes, wantedBytes: recipe.model.download };
    this.#bytes = nowBytes;
    let least: Stage = 'answer';
    for (const replica of replicas) {
      const why = whyGivenUp(replica);
      if (why !== undefined) throw new UserError(why);
      const isFetching = this.#fetching.has(replica.name);
      const stage = isFetching && !isReady(replica) ? 'download' : stageOf(replica, growth);
      if (stages.indexOf(stage) < stages.indexOf(least)) least = stage;
      if (!isFetching || isReady(replica)) tell(replica.name, replicaWords(replica, growth));
      this.#fetchThrough(replica);
    }
    if (replicas.length > 0) this.#clock.enter(least, monotonicMs());
  }

  /** Once it runs, where its store says that it has to be asked. */
  #fetchThrough({
    name,
    launch,
  }: {
    readonly name: string;
    readonly launch?: { readonly url?: string };
  }): void {
    const { recipe, tell, signal } = this.#options;
    const { fetchThrough } = storeOf(recipe.model.store);
    const url = launch?.url;
    if (fetchThrough === undefined || url === undefined || this.#fetching.has(name)) return;
    this.#fetching.add(name);
    fetchThrough(url, recipe.model.id, (text) => tell(name, `downloading, ${text}`), signal).then(
      () => tell(name, 'loading'),
      (thrown: unknown) => {
        // It may not listen yet: asked again at the next look. What it says itself is final.
        if (thrown instanceof UserError) this.#fetchFailed = thrown;
        else if (!signal.aborted) tell(name, `not yet: ${messageOf(thrown)}`);
        this.#fetching.delete(name);
      },
    );
  }
}
