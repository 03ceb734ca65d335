/**
 * Virtual time: what happens, in order, one event at a time. Between two events every promise that can go on has gone
 * on, those of streams included, so a run depends on its seed alone. Never reads the real clock; knows nothing of what
 * the events mean.
 */
import { createHash, type Hash } from 'node:crypto';

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  isCancelled: boolean;
}

/** What is to happen later, and may be called off. */
export interface Later {
  cancel(): void;
}

/** Node runs all microtasks, also those that microtasks make, before it takes the next turn of its event loop. */
const microtasksDone = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const isBefore = (one: Event, other: Event): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

export class Schedule {
  #nowMs = 0;
  #order = 0;
  /** A binary heap: the first is due first. */
  readonly #events: Event[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events so far. */
  handled = 0;

  at(atMs: number, run: () => void): Later {
    const event = { atMs: Math.max(atMs, this.#nowMs), order: this.#order, run, isCancelled: false };
    this.#order += 1;
    this.#push(event);
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  after(ms: number, run: () => void): Later {
    return this.at(this.#nowMs + ms, run);
  }

  /** Runs everything until then. */
  async run(untilMs: number, onThrown: (thrown: unknown) => void): Promise<void> {
    for (let next = this.#events[0]; next !== undefined && next.atMs <= untilMs; next = this.#events[0]) {
      this.#pop();
      if (next.isCancelled) continue;
      this.#nowMs = next.atMs;
      this.handled += 1;
      try {
        next.run();
      } catch (thrown) {
        onThrown(thrown);
      }
      await microtasksDone();
    }
    this.#nowMs = untilMs;
  }

  #push(event: Event): void {
    const events = this.#events;
    let at = events.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = events[parent];
      if (above === undefined || isBefore(above, event)) break;
      events[at] = above;
      at = parent;
    }
    events[at] = event;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop();
    if (last === undefined || events.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const [one, other] = [events[left], events[left + 1]];
      if (one === undefined) break;
      const isOther = other !== undefined && isBefore(other, one);
      const child = isOther ? other : one;
      if (isBefore(last, child)) break;
      events[at] = child;
      at = isOther ? left + 1 : left;
    }
    events[at] = last;
  }
}

/** Ordered delivery with a delay: a later message never overtakes an earlier one. May be held and let go again. */
export class Channel {
  readonly #schedule: Schedule;
  readonly #delayMs: () => number;
  #lastAtMs = 0;
  #held: (() => void)[] | undefined;

  constructor(schedule: Schedule, delayMs: () => number) {
    this.#schedule = schedule;
    this.#delayMs = delayMs;
  }

  send(deliver: () => void): void {
    this.#lastAtMs = Math.max(this.#lastAtMs, this.#schedule.nowMs + this.#delayMs());
    this.#schedule.at(this.#lastAtMs, () => this.#arrived(deliver));
  }

  /** Nothing arrives until it is released; what comes meanwhile waits. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    for (const deliver of held) this.#schedule.at(this.#schedule.nowMs, () => this.#arrived(deliver));
    this.#lastAtMs = Math.max(this.#lastAtMs, this.#schedule.nowMs);
  }

  #arrived(deliver: () => void): void {
    if (this.#held === undefined) deliver();
    else this.#held.push(deliver);
  }
}

/** What happened, a line at a time: its hash tells whether two runs were the same, its lines are kept on request. */
export class Trace {
  readonly lines: string[] = [];
  readonly #schedule: Schedule;
  readonly #isKept: boolean;
  readonly #hash: Hash = createHash('sha256');

  constructor(schedule: Schedule, isKept: boolean) {
    this.#schedule = schedule;
    this.#isKept = isKept;
  }

  note(who: string, what: string): void {
    const line = `${this.#schedule.nowMs.toFixed(3)} ${who}: ${what}`;
    this.#hash.update(line).update('\n');
    if (this.#isKept) this.lines.push(line);
  }

  /** What there is very much of: in the lines alone. */
  detail(who: string, what: () => string): void {
    if (this.#isKept) this.lines.push(`${this.#schedule.nowMs.toFixed(3)} ${who}: ${what()}`);
  }

  /** Of all lines so far. */
  get hash(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}
