/**
 * One process of the simulation: its timers, its clock, whether it lives, and the globals that its program sees in the
 * place of Node's. What is to happen in a process that died does not happen. Knows nothing of what the program does.
 */
import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import type { Chance } from './random.ts';
import type { Later, Schedule, Trace } from './schedule.ts';

/** The year 2027: a time like any other. */
const epochMs = 1_800_000_000_000;

/** A timer as Node's are used here. */
class Timer {
  later: Later | undefined;
  unref(): this {
    return this;
  }
  ref(): this {
    return this;
  }
}

export class SimProcess {
  readonly name: string;
  readonly schedule: Schedule;
  readonly trace: Trace;
  readonly chance: Chance;
  isAlive = true;
  /** How far its wall clock is off. */
  clockSkewMs: () => number = () => 0;
  /** Called once, when it dies. */
  readonly onDeath = new Set<() => void>();
  #heldUntilMs = 0;
  /** What came since, in its order. */
  readonly #held: (() => void)[] = [];

  constructor(name: string, schedule: Schedule, trace: Trace, chance: Chance) {
    this.name = name;
    this.schedule = schedule;
    this.trace = trace;
    this.chance = chance;
  }

  get wallMs(): number {
    return Math.floor(epochMs + this.schedule.nowMs + this.clockSkewMs());
  }

  /** Runs something in this process, now or, in turn, once it is no longer held up; never when it is dead. */
  run(work: () => void): void {
    if (!this.isAlive) return;
    if (!this.isHeldUp && this.#held.length === 0) {
      work();
      return;
    }
    this.#held.push(work);
    if (this.#held.length === 1) this.#releaseAt(this.#heldUntilMs);
  }

  #releaseAt(atMs: number): void {
    this.schedule.at(atMs, () => {
      if (!this.isAlive) return;
      if (this.isHeldUp) {
        this.#releaseAt(this.#heldUntilMs);
        return;
      }
      const next = this.#held.shift();
      if (this.#held.length > 0) this.#releaseAt(atMs);
      next?.();
    });
  }

  after(ms: number, work: () => void): Later {
    let isCancelled = false;
    const later = this.schedule.after(ms, () =>
      this.run(() => {
        if (!isCancelled) work();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        later.cancel();
      },
    };
  }

  get isHeldUp(): boolean {
    return this.schedule.nowMs < this.#heldUntilMs;
  }

  /** Stands still until then, as a process that gets no CPU: all that comes waits. */
  holdUp(ms: number): void {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, this.schedule.nowMs + ms);
  }

  note(what: string): void {
    this.trace.note(this.name, what);
  }

  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    const told = [...this.onDeath];
    this.onDeath.clear();
    for (const tell of told) tell();
  }
}

/** Globals of a program that runs in this process, by name. */
export const globalsOf = (process: SimProcess): Readonly<Record<string, unknown>> => ({
  ...timersOf(process),
  Date: dateOf(process),
  Math: mathOf(process),
  performance: { now: () => process.schedule.nowMs },
  crypto: cryptoOf(process),
  AbortSignal: abortSignalOf(process),
  console: {
    error: (text: unknown) => process.note(`console.error ${String(text)}`),
    warn: (text: unknown) => process.note(`console.warn ${String(text)}`),
    log: (text: unknown) => process.note(`console.log ${String(text)}`),
  },
});

type Callback = (...values: unknown[]) => void;

const timersOf = (process: SimProcess) => {
  const clear = (timer: unknown): void => {
    if (timer instanceof Timer) timer.later?.cancel();
  };
  const setTimeout = (callback: Callback, ms = 0, ...values: unknown[]): Timer => {
    const timer = new Timer();
    timer.later = process.after(Math.max(1, ms), () => callback(...values));
    return timer;
  };
  const setInterval = (callback: Callback, ms: number): Timer => {
    const timer = new Timer();
    const again = (): void => {
      timer.later = process.after(Math.max(1, ms), () => {
        again();
        callback();
      });
    };
    again();
    return timer;
  };
  const setImmediate = (callback: Callback, ...values: unknown[]): Timer => {
    const timer = new Timer();
    timer.later = process.after(0, () => callback(...values));
    return timer;
  };
  return {
    ...{ setTimeout, setInterval, setImmediate },
    ...{ clearTimeout: clear, clearInterval: clear, clearImmediate: clear },
  };
};

const dateOf = (process: SimProcess): unknown =>
  class extends Date {
    constructor(...values: [] | [number | string]) {
      if (values.length === 0) super(process.wallMs);
      else super(values[0]);
    }
    static override now(): number {
      return process.wallMs;
    }
  };

const mathOf = (process: SimProcess): unknown =>
  Object.create(Math, { random: { value: () => process.chance.next() } });

/** A signal that time fires, by virtual time. */
const abortSignalOf = (process: SimProcess): unknown =>
  class extends AbortSignal {
    static override timeout(ms: number): AbortSignal {
      const controller = new AbortController();
      process.after(ms, () => controller.abort(new DOMException('The operation timed out.', 'TimeoutError')));
      return controller.signal;
    }
  };

interface SimKey {
  readonly algorithm: 'HMAC' | 'Ed25519';
  readonly bytes: Uint8Array;
}

/** How DER begins that names an Ed25519 public key. */
const ed25519Prefix = Buffer.from('302a300506032b6570032100', 'hex');

/** What the edge uses of Web Crypto, done at once: a thread pool would take real time. */
const cryptoOf = (process: SimProcess) => ({
  getRandomValues: (bytes: Uint8Array): Uint8Array => {
    process.chance.fill(bytes);
    return bytes;
  },
  randomUUID: (): string => {
    const bytes = new Uint8Array(16);
    process.chance.fill(bytes);
    const hex = Buffer.from(bytes).toString('hex');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  },
  subtle: {
    importKey: async (_format: string, bytes: Uint8Array, { name }: { name: SimKey['algorithm'] }) => ({
      algorithm: name,
      bytes,
    }),
    digest: async (_name: string, bytes: Uint8Array) => bufferOf(createHash('sha256').update(bytes).digest()),
    sign: async (_name: string, key: SimKey, text: Uint8Array) => bufferOf(hmac(key, text)),
    verify: async (_name: string, key: SimKey, tag: Uint8Array, text: Uint8Array) => {
      if (key.algorithm === 'HMAC') {
        const due = hmac(key, text);
        return due.length === tag.length && timingSafeEqual(due, tag);
      }
      const der = Buffer.concat([ed25519Prefix, key.bytes]);
      return verify(null, text, createPublicKey({ key: der, format: 'der', type: 'spki' }), tag);
    },
  },
});

const hmac = (key: SimKey, text: Uint8Array): Buffer => createHmac('sha256', key.bytes).update(text).digest();

const bufferOf = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer;
