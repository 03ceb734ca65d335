/**
 * Who may use which sequence, and who waits: first come, first served, in a bounded queue. It knows what each
 * sequence holds only through `candidateFor`; it evaluates nothing.
 */
import { Aborted, overloaded } from '../openai/errors.ts';
import { type Candidate, choosePlace } from './place.ts';

/** How well a sequence suits a request, `undefined`: not at all; asked at the moment a sequence is given out. */
export type CandidateFor = (sequence: number) => Omit<Candidate, 'sequence' | 'lastUsed'> | undefined;

/** What a use says of a sequence: its content is wanted, as it was before, or there is none any more. */
export type Use = 'counts' | 'counts not' | 'emptied';

interface Waiter {
  readonly candidateFor: CandidateFor;
  readonly resolve: (sequence: number) => void;
  readonly reject: (error: Error) => void;
}

export class SequencePool {
  readonly #lastUsed: number[];
  readonly #free: Set<number>;
  readonly #waiting: Waiter[] = [];
  readonly #waitingMax: number;
  readonly #blockTokens: number;
  #uses = 0;

  constructor(settings: { sequences: number; waitingMax: number; blockTokens: number }) {
    this.#lastUsed = Array.from({ length: settings.sequences }, () => 0);
    this.#free = new Set(this.#lastUsed.keys());
    this.#waitingMax = settings.waitingMax;
    this.#blockTokens = settings.blockTokens;
  }

  get running(): number {
    return this.#lastUsed.length - this.#free.size;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Resolves with a sequence that is the caller's until `release`. Rejects when the queue is full or on
   * abort.
   */
  acquire(candidateFor: CandidateFor, signal: AbortSignal): Promise<number> {
    if (signal.aborted) return Promise.reject(new Aborted());
    const sequence = this.#take(candidateFor);
    if (sequence !== undefined) return Promise.resolve(sequence);
    if (this.#waiting.length >= this.#waitingMax) return Promise.reject(overloaded());
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        candidateFor,
        resolve: (given) => {
          signal.removeEventListener('abort', leave);
          resolve(given);
        },
        reject,
      };
      const leave = (): void => {
        const at = this.#waiting.indexOf(waiter);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        reject(new Aborted());
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiter);
    });
  }

  release(sequence: number, use: Use = 'counts'): void {
    if (use === 'counts') this.#lastUsed[sequence] = ++this.#uses;
    if (use === 'emptied') this.#lastUsed[sequence] = 0;
    this.#free.add(sequence);
    // Who waits for another sequence does not hold up those behind.
    for (const [at, waiter] of this.#waiting.entries()) {
      const given = this.#take(waiter.candidateFor);
      if (given === undefined) continue;
      this.#waiting.splice(at, 1);
      waiter.resolve(given);
      return;
    }
  }

  isFree(sequence: number): boolean {
    return this.#free.has(sequence);
  }

  /** Grows with each use; 0 for a sequence that was never used. */
  lastUsed(sequence: number): number {
    return this.#lastUsed[sequence] ?? 0;
  }

  #take(candidateFor: CandidateFor): number | undefined {
    const candidates = [...this.#free].flatMap((sequence) => {
      const suits = candidateFor(sequence);
      return suits === undefined ? [] : [{ sequence, lastUsed: this.lastUsed(sequence), ...suits }];
    });
    const chosen = choosePlace(candidates, this.#blockTokens);
    if (chosen !== undefined) this.#free.delete(chosen);
    return chosen;
  }
}
