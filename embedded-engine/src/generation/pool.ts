/**
 * Who may use which sequence, and who waits: first come, first served, in a bounded queue. It knows what each
 * sequence holds only through `candidateFor`; it evaluates nothing.
 */
import { Aborted, overloaded } from '../openai/errors.ts';
import { type Candidate, choosePlace } from './place.ts';

/** How well a sequence suits a request; asked at the moment a sequence is given out. */
export type CandidateFor = (sequence: number) => Omit<Candidate, 'sequence' | 'lastUsed'>;

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

  release(sequence: number): void {
    this.#lastUsed[sequence] = ++this.#uses;
    this.#free.add(sequence);
    const next = this.#waiting.shift();
    if (!next) return;
    const given = this.#take(next.candidateFor);
    if (given === undefined) this.#waiting.unshift(next);
    else next.resolve(given);
  }

  #take(candidateFor: CandidateFor): number | undefined {
    const candidates = [...this.#free].map((sequence) => ({
      sequence,
      lastUsed: this.#lastUsed[sequence] ?? 0,
      ...candidateFor(sequence),
    }));
    const chosen = choosePlace(candidates, this.#blockTokens);
    if (chosen !== undefined) this.#free.delete(chosen);
    return chosen;
  }
}
