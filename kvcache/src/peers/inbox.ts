/**
 * Between bytes that come as they come and a reader that wants so many at a place of its own: what comes while it waits
 * goes there at once, without being kept. Says when nobody wants more, so that the other end is slowed down by the
 * transport itself. Owns the time without a byte. One reader at a time.
 */
import { PeerError } from './codes.ts';

interface Wanted {
  readonly target: Buffer;
  readonly resolve: (isFull: boolean) => void;
  readonly reject: (error: PeerError) => void;
  filled: number;
  timer: NodeJS.Timeout;
}

export class Inbox {
  readonly #onHungry: () => void;
  /** Came with nobody waiting: less than what a transport reads at once. */
  #kept: Buffer[] = [];
  #wanted: Wanted | undefined;
  #over: PeerError | 'ended' | undefined;
  #came = 0;

  /** `onHungry`: somebody waits and nothing is here. */
  constructor(onHungry: () => void) {
    this.#onHungry = onHungry;
  }

  /** Somebody waits for bytes. */
  get isHungry(): boolean {
    return this.#wanted !== undefined;
  }

  get isEmpty(): boolean {
    return this.#kept.length === 0;
  }

  /** Bytes, ever. */
  get came(): number {
    return this.#came;
  }

  /** Takes what came; the bytes are the caller's again afterwards. */
  push(bytes: Buffer): void {
    this.#came += bytes.length;
    const taken = this.#kept.length === 0 ? this.#give(bytes) : 0;
    if (taken < bytes.length && this.#over === undefined) this.#kept.push(Buffer.from(bytes.subarray(taken)));
  }

  /** Nothing comes any more: in order, or not. */
  end(error?: PeerError): void {
    if (this.#over !== undefined) return;
    this.#over = error ?? 'ended';
    if (this.#wanted !== undefined && this.#kept.length === 0)
      this.#finish(this.#wanted, this.#verdict(this.#wanted));
  }

  /** True when the target is full; false when the other end ended before its first byte. */
  fill(target: Buffer, msMax: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (this.#wanted !== undefined) throw new Error('a channel has one reader');
      const timer = this.#watch(msMax);
      this.#wanted = { target, resolve, reject, filled: 0, timer };
      for (let next = this.#kept[0]; next !== undefined && this.#wanted !== undefined; next = this.#kept[0]) {
        const taken = this.#give(next);
        if (taken === next.length) this.#kept.shift();
        else this.#kept[0] = next.subarray(taken);
      }
      if (this.#wanted === undefined) return;
      if (this.#over !== undefined) this.#finish(this.#wanted, this.#verdict(this.#wanted));
      else this.#onHungry();
    });
  }

  /** How many of them somebody waited for. */
  #give(bytes: Buffer): number {
    const wanted = this.#wanted;
    if (wanted === undefined) return 0;
    const taken = bytes.copy(wanted.target, wanted.filled);
    wanted.filled += taken;
    if (wanted.filled === wanted.target.length) this.#finish(wanted, undefined);
    return taken;
  }

  #watch(msMax: number): NodeJS.Timeout {
    let seen = 0;
    const timer = setInterval(() => {
      const wanted = this.#wanted;
      if (wanted === undefined) return;
      if (wanted.filled > seen) seen = wanted.filled;
      else this.#finish(wanted, new PeerError('stalled'));
    }, msMax);
    return timer;
  }

  #verdict({ filled }: Wanted): PeerError | 'ended' {
    if (this.#over === 'ended' && filled > 0) return new PeerError('cut');
    return this.#over ?? 'ended';
  }

  #finish(wanted: Wanted, verdict: PeerError | 'ended' | undefined): void {
    clearInterval(wanted.timer);
    this.#wanted = undefined;
    if (verdict instanceof PeerError) wanted.reject(verdict);
    else wanted.resolve(verdict === undefined);
  }
}
