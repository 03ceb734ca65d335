/**
 * One engine as the agent knows it: an OpenAI-compatible HTTP surface at a URL. Owns the connection pool, the list of
 * models with their public and served names, and whether it can serve now. Knows no engine by name.
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import {
  interTokenMsMax,
  modelsPerReplicaMax,
  replicaWhyCharsMax,
  streamsPerLinkMax,
} from '@cognitora/protocol/limits';
import type { ModelCard, ReplicaReport, ReplicaRole, ReplicaState } from '@cognitora/protocol/link';
import { printable } from '@cognitora/protocol/printable';
import { Pool } from 'undici';
import type { Log } from '../log.ts';
import { enginePath } from './engine-path.ts';
import { isLate, isSignOfLife, LookRefused, reasonOf } from './look-failures.ts';
import { Losses } from './losses.ts';
import { offeredOf, readModelList } from './model-list.ts';
import { probeVolunteered, type VolunteeredByPath } from './probe.ts';
import { settledWithin } from './settled-within.ts';
import { Silence } from './silence.ts';
import { type EngineTimeouts, timeoutsDefault } from './timeouts.ts';

export interface EngineOptions {
  readonly name: ReplicaName;
  /** With or without a trailing `/v1`; with another path the base of an API (`enginePath`). */
  readonly url: URL;
  /** Somebody starts it: a port that is not open yet means that it loads. */
  readonly isLaunched?: boolean;
  /** Sent as a bearer token to the engine; from the environment or a file, never from argv. */
  readonly apiKey: string | undefined;
  /** Public name -> served name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** A path that answers 200 once the model is there; undefined: its list of models has to do. */
  readonly healthPath?: string | undefined;
  /** Between looks while it serves; undefined: as often as its end shall be noticed at once. */
  readonly pollMs?: number | undefined;
  /** Of a list that shows more than is to be served: whether a model is; undefined: each is. */
  readonly offers?: ((served: string) => boolean) | undefined;
  /** By endpoint: the members of a request with which it goes on from a part of an answer. Undefined: it can't. */
  readonly continues?: ReadonlyMap<string, string> | undefined;
  /** A stream that asks for it by `return_progress` tells how far its prefill is. */
  readonly reportsProgress?: boolean | undefined;
  /** Told to the edge; `both` unless it says otherwise. */
  readonly role?: ReplicaRole;
  /** Undefined: as for any engine. */
  readonly timeouts?: EngineTimeouts | undefined;
  readonly log: Log;
  /** The report changed. */
  readonly onChange: () => void;
  /** It hangs, once each time: `why` in words. */
  readonly onHang?: (why: string) => void;
}

/** A model as this engine serves it. */
export interface ServedModel {
  readonly served: string;
  /** Undefined until the engine was asked. */
  readonly volunteered: VolunteeredByPath | undefined;
}

/** Between looks at a healthy engine: so short that a kept connection is always open, whose end tells of its death. */
const pollMsMax = 2_000;
/** Between looks at one that is about to serve, or to serve again. */
const awaitedPollMs = 500;
/** Between the first looks at an engine that starts. */
const pollMsMin = 50;
/** From one look's begin to one for which a lost connection asks. */
const lostLookMs = 250;
/** A look that takes longer has failed. */
const pollTimeoutMs = 5_000;
/** An engine at its limit answers late and serves all the same: this many looks in a row, and it counts as gone. */
const lateLooksMax = 3;
/** A list of models is also answered by engines whose core is gone: each so many looks the path of health is asked. */
const looksPerHealth = 5;
/**
 * An engine that was ready, answers no look and sends no byte of any answer for this long hangs. No less than a live
 * stream may be silent, also where its engine has longer for that: where that is let live, so is its engine.
 */
export const hangMsMax = interTokenMsMax;
/** A model list longer than this is no engine's. */
const modelListBytesMax = 4 * 1024 * 1024;
/** Beyond this many models (adapters, a hosted catalogue) none is probed before it is used. */
const probedAheadMax = 4;
/** A model that takes longer has the next one tried beside it; one that is never through keeps none from serving. */
const probePatienceMs = 10_000;

/** Nobody listens there, or there is no such name. */
const finalCodes = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'];

export class Engine {
  readonly name: ReplicaName;
  /** Of every request to the engine. */
  readonly headers: Readonly<Record<string, string>>;
  readonly timeouts: EngineTimeouts;
  readonly #hangMsMax: number;
  readonly #options: EngineOptions;
  #pool: Pool;
  #origin: string;
  #url: URL;
  #state: ReplicaState = 'loading';
  #cards: readonly ModelCard[] = [];
  readonly #models = new Map<string, ServedModel>();
  /** Names used before they were probed, or whose streams contradict their probe. */
  readonly #unprobed = new Set<string>();
  #isProbingUsed = false;
  #wasReady = false;
  #pollMs = pollMsMin;
  /** Looks in a row that failed. */
  #lateLooks = 0;
  /** Looks until health is asked for again. */
  #looksToHealth = 0;
  #silence = new Silence();
  #isHangTold = false;
  /** Why it could not serve at the last look; each reason is told once, until it is ready again. */
  #toldWhy: string | undefined;
  /** Of one that failed: why, as the report last had it. */
  #reportedWhy: string | undefined;
  #losses = new Losses();
  #timer: NodeJS.Timeout | undefined;
  /** Runs while the last look is so young that a lost connection waits. */
  #youngTimer: NodeJS.Timeout | undefined;
  #isLooking = false;
  /** Counts the engines that were there one after the other. */
  #life = 0;
  #stopped = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.name = options.name;
    this.headers = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
    this.timeouts = options.timeouts ?? timeoutsDefault;
    this.#hangMsMax = Math.max(hangMsMax, this.timeouts.interTokenMsMax);
    this.#origin = options.url.origin;
    this.#url = options.url;
    this.#pool = this.#openPool();
  }

  get pool(): Pool {
    return this.#pool;
  }

  get report(): ReplicaReport {
    const { role = 'both' } = this.#options;
    // An edge that knows no roles reads the same as before of a host that has none.
    const said = role === 'both' ? {} : { role };
    const { ackMsMax } = this.timeouts;
    const ack = ackMsMax === timeoutsDefault.ackMsMax ? {} : { ackMs: ackMsMax };
    const why = this.#state === 'failed' && this.#toldWhy ? { why: shownWhy(this.#toldWhy) } : {};
    return { name: this.name, state: this.#state, ...said, ...why, ...ack, models: this.#cards };
  }

  /** Why it cannot serve, as far as it was told. */
  get trouble(): string | undefined {
    return this.#toldWhy;
  }

  /** The engine's own path for one of the API's. */
  pathOf(path: string): string {
    return enginePath(this.#url, path);
  }

  /** The members of a request with which it goes on from a part of an answer; undefined: it can't. */
  continueMembers(path: string): string | undefined {
    return this.#options.continues?.get(path);
  }

  get reportsProgress(): boolean {
    return this.#options.reportsProgress === true;
  }

  model(publicName: string): ServedModel | undefined {
    return this.#models.get(publicName);
  }

  /** The model for a request. If nobody knows what its streams volunteer, later requests will. */
  use(publicName: string): ServedModel | undefined {
    const model = this.#models.get(publicName);
    if (model !== undefined && model.volunteered === undefined) {
      this.#unprobed.add(publicName);
      void this.#probeUsed();
    }
    return model;
  }

  /**
   * A stream contradicts the probe: another engine answers here, though no look missed the old one (a rolling update
   * behind a proxy). The model is probed anew with the next look; what is known stands until then.
   */
  doubt(publicName: string): void {
    if (this.#models.has(publicName)) this.#unprobed.add(publicName);
  }

  /** Looks at it from now on: it runs at `url`, or a new one is about to. */
  start(url: URL = this.#options.url): void {
    if (this.#stopped) return;
    if (url.origin !== this.#origin) {
      void this.#pool.close();
      this.#origin = url.origin;
      this.#pool = this.#openPool();
    }
    this.#url = url;
    this.#newLife();
    this.#toldWhy = undefined;
    this.#become('loading');
    void this.#poll();
  }

  /** HOT. Bytes of an answer came: however late it answers us, it is not hung. Looks at one that was do not count. */
  heard(): void {
    if (this.#silence.lastedMs > pollTimeoutMs) this.#lateLooks = 0;
    this.#silence.broken();
  }

  /**
   * Called about once a second. `isExcused` tells whether a request still waits for its first token, which may take
   * minutes, or is not read by its client: until its own time is up nobody knows better than it.
   */
  sweep(nowMs: number, isExcused: () => boolean): void {
    const silentMs = this.#silence.sweep(nowMs);
    if (silentMs === 0) this.#isHangTold = false;
    if (this.#isHangTold || !this.#wasReady || silentMs <= this.#hangMsMax || isExcused()) return;
    this.#isHangTold = true;
    const seconds = Math.round(silentMs / 1_000);
    const why = `hung: no look was answered and no byte of an answer came for ${seconds} s`;
    this.#options.log('error', 'engine hangs', { engine: this.name, why, lastLook: this.#toldWhy });
    this.#toldWhy = why;
    this.#become('failed');
    this.#options.onHang?.(why);
  }

  /** It has ended: nobody looks until it is started again. */
  end(why: string): void {
    if (this.#stopped) return;
    this.#newLife();
    this.#toldWhy = why;
    this.#become('failed');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#youngTimer);
    await this.#pool.destroy();
  }

  #openPool(): Pool {
    const pool = new Pool(this.#origin, {
      connections: streamsPerLinkMax,
      pipelining: 1,
      connect: { timeout: this.timeouts.connectMsMax },
      // The agent has timers of its own, which know a first token from the next one.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4_000,
    });
    pool.on('disconnect', (_origin, _targets, error) => this.#lost(error));
    return pool;
  }

  /** What a look at the one before finds is of no interest any more. */
  #newLife(): void {
    this.#life += 1;
    clearTimeout(this.#timer);
    this.#wasReady = false;
    this.#lateLooks = 0;
    this.#pollMs = pollMsMin;
    this.#silence = new Silence();
    this.#losses = new Losses();
    this.#isHangTold = false;
  }

  /** The engine ended a connection: it may be gone, and another one in its place soon. */
  #lost(error: Error): void {
    const isTheirs = 'code' in error && error.code === 'UND_ERR_SOCKET';
    if (!isTheirs || this.#state !== 'ready' || this.#isLooking || this.#stopped) return;
    const calledFor = this.#losses.lost();
    if (calledFor === 'told') {
      this.#options.log('warn', 'engine ends kept connections', { engine: this.name, lookMs: this.#pollMs });
    }
    if (calledFor !== 'look') return;
    clearTimeout(this.#timer);
    if (this.#youngTimer === undefined) void this.#poll();
    else this.#lookAgainIn(lostLookMs);
  }

  async #poll(): Promise<void> {
    const life = this.#life;
    this.#isLooking = true;
    this.#losses.looking();
    clearTimeout(this.#youngTimer);
    this.#youngTimer = setTimeout(() => {
      this.#youngTimer = undefined;
    }, lostLookMs);
    await this.#look(life);
    if (life === this.#life) this.#isLooking = false;
  }

  async #look(life: number): Promise<void> {
    try {
      const isServing = this.#state === 'ready';
      if (!isServing) await this.#health();
      this.#learn(readModelList(await this.#get('/v1/models')));
      const isWell = !isServing || (await this.#isWell());
      if (life !== this.#life) return;
      if (isWell) this.#silence.broken();
      if (!isServing) await this.#probeAhead(life);
      if (life !== this.#life) return;
      if (!isWell && this.#isHangTold) return this.#lookAgainIn(awaitedPollMs);
      this.#become('ready');
      this.#wasReady = true;
      this.#pollMs = this.#options.pollMs ?? pollMsMax;
      this.#lateLooks = 0;
      this.#toldWhy = undefined;
      void this.#probeUsed();
    } catch (thrown) {
      // What we destroyed ourselves says nothing of the engine.
      if (this.#stopped || life !== this.#life) return;
      const why = reasonOf(thrown);
      if (isSignOfLife(thrown)) this.#silence.broken();
      this.#lateLooks += 1;
      const waitMs = thrown instanceof LookRefused ? thrown.waitMs : undefined;
      const isExcused = isLate(thrown) || waitMs !== undefined;
      if (isExcused && this.#state === 'ready' && this.#lateLooks < lateLooksMax) {
        this.#lookAgainIn(waitMs ?? pollMsMin);
        return;
      }
      // Of one that was just started it is no news that it loads.
      const isStarting = this.#options.isLaunched === true && !this.#wasReady;
      const level = isStarting ? 'info' : 'warn';
      if (!this.#isHangTold) this.#tell(level, why);
      this.#become(this.#wasReady || this.#isFinal(thrown) ? 'failed' : 'loading');
      const longestMs = this.#wasReady || isStarting ? awaitedPollMs : pollMsMax;
      this.#pollMs = this.#wasReady ? longestMs : Math.min(longestMs, this.#pollMs * 1.5);
      if (waitMs !== undefined) return this.#lookAgainIn(waitMs);
    }
    this.#lookAgainIn(this.#pollMs);
  }

  #tell(level: 'info' | 'warn', why: string): void {
    if (why !== this.#toldWhy) this.#options.log(level, 'engine cannot serve', { engine: this.name, why });
    this.#toldWhy = why;
  }

  /** Whether it looks as if somebody had to do something, where other failures are those of an engine that loads. */
  #isFinal(thrown: unknown): boolean {
    if (thrown instanceof LookRefused) return thrown.isFinal;
    if (this.#options.isLaunched === true) return false;
    return thrown instanceof Error && 'code' in thrown && finalCodes.includes(String(thrown.code));
  }

  #lookAgainIn(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#poll(), ms);
  }

  async #health(): Promise<void> {
    const { healthPath } = this.#options;
    if (healthPath !== undefined) await this.#get(healthPath);
    this.#looksToHealth = looksPerHealth;
  }

  /** Of one that serves: being late with it is no failure under load, and no sign of life. A refusal is one. */
  async #isWell(): Promise<boolean> {
    this.#looksToHealth -= 1;
    if (this.#looksToHealth > 0) return true;
    try {
      await this.#health();
      return true;
    } catch (thrown) {
      // It is asked again with the next look.
      if (isLate(thrown)) return false;
      throw thrown;
    }
  }

  async #get(path: string): Promise<Uint8Array> {
    const { statusCode, headers, body } = await this.pool.request({
      method: 'GET',
      path: this.pathOf(path),
      headers: this.headers,
      signal: AbortSignal.timeout(pollTimeoutMs),
    });
    const text = await readBounded(body, modelListBytesMax);
    if (statusCode !== 200) throw new LookRefused(path, statusCode, headers['retry-after']);
    return text;
  }

  /** Keeps what is known of models that stay, so that a poll never forgets a probe. */
  #learn(cards: readonly ModelCard[]): void {
    const publicCards = this.#publicCards(offeredOf(cards, this.#options.offers));
    const names = new Set(publicCards.map((card) => card.id));
    for (const name of this.#models.keys()) if (!names.has(name)) this.#models.delete(name);
    const known = new Set(this.#cards.map((card) => card.id));
    const isProbedNow = this.#state === 'ready' && names.size <= probedAheadMax;
    if (isProbedNow) for (const name of names) if (!known.has(name)) this.#unprobed.add(name);
    const changed = JSON.stringify(publicCards) !== JSON.stringify(this.#cards);
    this.#cards = publicCards;
    if (changed && this.#state === 'ready') this.#options.onChange();
  }

  /** The engine's models under their public names: each name once, a model under all of its names. */
  #publicCards(cards: readonly ModelCard[]): readonly ModelCard[] {
    const { aliases } = this.#options;
    const found = new Map<string, ModelCard>();
    for (const card of cards) {
      const names = [...aliases].filter(([, served]) => served === card.id).map(([name]) => name);
      for (const id of names.length === 0 ? [card.id] : names) {
        if (found.size >= modelsPerReplicaMax || found.has(id)) continue;
        found.set(id, { ...card, id });
        if (!this.#models.has(id)) this.#models.set(id, { served: card.id, volunteered: undefined });
      }
    }
    return [...found.values()];
  }

  /**
   * Each time the engine comes up: what do its streams say unasked? Resolves when all were tried and one is through,
   * rejects when none is. Who does not get through stays unprobed. Its list is asked for meanwhile: who answers lives.
   */
  async #probeAhead(life: number): Promise<void> {
    for (const [name, { served }] of this.#models) this.#models.set(name, { served, volunteered: undefined });
    if (this.#models.size === 0 || this.#models.size > probedAheadMax) return;
    const aliveTimer = setInterval(() => void this.#isAlive(life), this.#options.pollMs ?? pollMsMax);
    const probes: Promise<void>[] = [];
    try {
      for (const name of this.#models.keys()) {
        const probe = this.#probeModel(name);
        probes.push(probe);
        await settledWithin(probe, probePatienceMs);
      }
      await Promise.any(probes);
    } catch (thrown) {
      throw thrown instanceof AggregateError ? thrown.errors[0] : thrown;
    } finally {
      clearInterval(aliveTimer);
    }
  }

  async #isAlive(life: number): Promise<void> {
    const isAlive = await this.#get('/v1/models').then(
      () => true,
      () => false,
    );
    if (isAlive && life === this.#life) this.#silence.broken();
  }

  /** One at a time, so that a client that tries a whole catalogue does not double its load on the engine. */
  async #probeUsed(): Promise<void> {
    if (this.#isProbingUsed) return;
    this.#isProbingUsed = true;
    for (const name of this.#unprobed) {
      // What failed is tried again when the model is used again.
      await this.#probeModel(name).catch(() => {});
      this.#unprobed.delete(name);
    }
    this.#isProbingUsed = false;
  }

  async #probeModel(name: string): Promise<void> {
    const model = this.#models.get(name);
    if (model === undefined) return;
    const volunteered = await probeVolunteered(this, model.served);
    // The engine may have dropped the model meanwhile.
    if (this.#models.get(name) === model) this.#models.set(name, { ...model, volunteered });
  }

  #become(state: ReplicaState): void {
    const why = state === 'failed' ? this.#toldWhy : undefined;
    if (this.#state === state && this.#reportedWhy === why) return;
    const isNew = this.#state !== state;
    this.#state = state;
    this.#reportedWhy = why;
    if (isNew) this.#logState();
    this.#options.onChange();
  }

  #logState(): void {
    this.#options.log('info', `engine ${this.#state}`, {
      engine: this.name,
      models: this.#cards.map((card) => card.id).join(','),
    });
  }
}

/** For people elsewhere: one line, no longer than the link carries. */
const shownWhy = (why: string): string => printable(why).slice(0, replicaWhyCharsMax).toWellFormed();

/** Reads a response body as bytes, at most `bytesMax`. */
export const readBounded = async (body: AsyncIterable<Buffer>, bytesMax: number): Promise<Uint8Array> => {
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of body) {
    total += part.length;
    if (total > bytesMax) throw new Error(`the engine's answer is longer than ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
};
