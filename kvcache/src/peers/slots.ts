/** So many at once, and so many who wait in line, each no longer than it says. */
import { PeerError } from './codes.ts';

interface Waiting {
  readonly resolve: () => void;
  readonly timer: NodeJS.Timeout;
}

export class Slots {
  readonly #max: number;
  readonly #waitingMax: number;
  readonly #line = new Set<Waiting>();
  #taken = 0;

  constructor({ max, waitingMax }: { readonly max: number; readonly waitingMax: number }) {
    this.#max = max;
    this.#waitingMax = waitingMax;
  }

  get taken(): number {
    return this.#taken;
  }

  get isIdle(): boolean {
    return this.#taken === 0;
  }

  /** Rejects with `busy` or `late`. Who has one calls `free` once. */
  async take(msMax: number): Promise<void> {
    if (this.#taken < this.#max) {
      this.#taken += 1;
      return;
    }
    if (this.#line.size >= this.#waitingMax) throw new PeerError('busy');
    await new Promise<void>((resolve, reject) => {
      const onLate = (): void => {
        this.#line.delete(waiting);
        reject(new PeerError('late'));
      };
      const waiting = { resolve, timer: setTimeout(onLate, Math.max(0, msMax)) };
      this.#line.add(waiting);
    });
  }

  /** The next in line has it. */
  free(): void {
    const [next] = this.#line;
    if (next === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#line.delete(next);
    clearTimeout(next.timer);
    next.resolve();
  }
}
