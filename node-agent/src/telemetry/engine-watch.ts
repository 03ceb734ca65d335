/**
 * Looks at one engine's metrics: often while it works, seldom while it rests, bounded in time and bytes. Keeps what it
 * learned in a `LoadHistory`; says nothing to anybody.
 */
import { messageOf } from '@cognitora/protocol/errors';
import { type Ask, asker } from '../engines/ask.ts';
import type { Engine } from '../engines/engine.ts';
import type { Metrics } from '../engines/profiles/profile.ts';
import type { Log } from '../log.ts';
import type { ReplicaCounters } from '../status/counters.ts';
import { readFigures } from './engine-figures.ts';
import { type EngineLoad, LoadHistory, type OwnRequests } from './engine-load.ts';

/** Between looks at an engine that serves or changes: the edge is told no more often. */
const busyLookMs = 1_000;
/** At one that rests. Others may begin to send it requests: so late the edge hears of them at most. */
const restingLookMs = 5_000;
/** A page comes from memory on loopback; an engine that takes longer is too busy to be asked. */
const lookMsMax = 2_000;
/** vLLM's page with its histograms is about 100 KB for each model. */
const pageBytesMax = 1024 * 1024;

export interface EngineWatchOptions {
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly counters: ReplicaCounters;
  readonly log: Log;
}

export class EngineWatch {
  readonly history = new LoadHistory();
  readonly #options: EngineWatchOptions;
  readonly #ask: Ask;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** Each reason is told once, until a look succeeds. */
  #toldWhy: string | undefined;

  constructor(options: EngineWatchOptions) {
    this.#options = options;
    this.#ask = asker(options.engine, { msMax: lookMsMax, bytesMax: pageBytesMax });
  }

  start(): void {
    void this.#watch();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #watch(): Promise<void> {
    const before = this.history.load;
    const isReady = this.#options.engine.report.state === 'ready';
    if (isReady) await this.look();
    else this.history.lost();
    const isBusy = this.#options.counters.live > 0 || !isSame(before, this.history.load);
    // One that is not ready costs nothing to look at.
    const inMs = isBusy || !isReady ? busyLookMs : restingLookMs;
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#watch(), inMs);
  }

  /** One look. Never rejects. */
  async look(): Promise<void> {
    const { engine, metrics, log } = this.#options;
    const before = this.#own;
    try {
      const { status, text } = await this.#ask(metrics.path);
      if (status !== 200) throw new Error(`GET ${metrics.path} answered ${status}`);
      const after = this.#own;
      this.history.looked(readFigures(text, metrics), {
        live: Math.max(before.live, after.live),
        unanswered: Math.max(before.unanswered, after.unanswered),
      });
      this.#toldWhy = undefined;
    } catch (thrown) {
      this.history.lost();
      const why = messageOf(thrown);
      if (this.#stopped || why === this.#toldWhy) return;
      this.#toldWhy = why;
      log('warn', 'the load of an engine is not known', { engine: engine.name, why });
    }
  }

  get #own(): OwnRequests {
    const { live, answering } = this.#options.counters;
    return { live, unanswered: live - answering };
  }
}

const isSame = (one: EngineLoad | undefined, other: EngineLoad | undefined): boolean =>
  one?.running === other?.running && one?.waiting === other?.waiting && one?.kvUsage === other?.kvUsage;
