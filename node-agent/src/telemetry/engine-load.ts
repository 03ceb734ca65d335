/**
 * What is known of one engine's load from one look at its metrics to the next: its figures, who of its requests are not
 * ours, and counters that go on when the engine starts anew. Pure.
 */
import type { EngineCounters, EngineFigures } from './engine-figures.ts';

/** Requests that this agent has in the engine. */
export interface OwnRequests {
  readonly live: number;
  /** Of those, the ones without a first byte: they may wait in the engine's queue. */
  readonly unanswered: number;
}

export interface EngineLoad extends EngineFigures {
  /** Of those that run and wait, the ones that came to the engine by another way than this agent. */
  readonly othersRunning: number | undefined;
  readonly othersWaiting: number | undefined;
}

interface Others {
  readonly all: number | undefined;
  readonly waiting: number | undefined;
}

const less = (count: number | undefined, ours: number): number | undefined =>
  count === undefined ? undefined : Math.max(0, count - ours);

const othersIn = ({ running, waiting }: EngineFigures, ours: OwnRequests): Others => {
  const othersWaiting = less(waiting, ours.unanswered);
  if (running === undefined) return { all: othersWaiting, waiting: othersWaiting };
  const all = less(running + (waiting ?? 0), ours.live);
  return { all, waiting: othersWaiting };
};

/** Of two looks: a request of ours that just ended counts in the engine for a moment more. One look tells nothing. */
const lesser = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? undefined : Math.min(one, other);

const counterNames = ['promptTokens', 'cachedTokens', 'generatedTokens', 'preemptions'] as const;

export class LoadHistory {
  #load: EngineLoad | undefined;
  #others: Others | undefined;
  readonly #last = new Map<keyof EngineCounters, number>();
  readonly #totals = new Map<keyof EngineCounters, number>();

  /** Undefined while the engine's metrics are not known. */
  get load(): EngineLoad | undefined {
    return this.#load;
  }

  /** Since the first look, over all starts of the engine; undefined for what it does not count. */
  get totals(): EngineCounters {
    const of = (name: keyof EngineCounters): number | undefined => this.#totals.get(name);
    const [promptTokens, cachedTokens] = [of('promptTokens'), of('cachedTokens')];
    return {
      ...{ promptTokens, cachedTokens },
      generatedTokens: of('generatedTokens'),
      preemptions: of('preemptions'),
    };
  }

  /** `ours` are the most that were there while it was looked. */
  looked(figures: EngineFigures, ours: OwnRequests): void {
    const now = othersIn(figures, ours);
    const before = this.#others;
    this.#others = now;
    const all = lesser(now.all, before?.all);
    const waiting = lesser(all, lesser(now.waiting, before?.waiting));
    const running = figures.running === undefined ? undefined : less(all, waiting ?? 0);
    this.#load = { ...figures, othersRunning: running, othersWaiting: waiting };
    for (const name of counterNames) this.#count(name, figures.counters[name]);
  }

  /** The engine was not to be asked. */
  lost(): void {
    this.#load = undefined;
    this.#others = undefined;
  }

  /** A counter that fell began anew. */
  #count(name: keyof EngineCounters, value: number | undefined): void {
    if (value === undefined) return;
    const last = this.#last.get(name) ?? value;
    this.#last.set(name, value);
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + (value >= last ? value - last : value));
  }
}
