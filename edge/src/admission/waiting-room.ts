/**
 * The shell around `Admission`: requests wait here as promises, end with their client's signal, and are looked after by
 * one timer that runs while somebody waits. Decides in the turn of the grant, so that the next one sees what is booked.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { queueLookMs } from '@cognitora/protocol/limits';
import type { Clock } from '../clock.ts';
import { type WatchedClient, watchClient } from '../link/client-watch.ts';
import type { Admission, Ask, Ticket } from './admission.ts';

/** By what it shows that a client left: its signal fires, or its supervisor says that its address hung up. */
export interface Client {
  readonly signal: AbortSignal | undefined;
  readonly address: string | undefined;
}

export class WaitingRoom {
  readonly #admission: Admission;
  readonly #clock: Clock;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(admission: Admission, clock: Clock) {
    this.#admission = admission;
    this.#clock = clock;
  }

  /** What `decide` returns or throws once the request is let in; rejects when it is refused or its client leaves. */
  enter<Decided>(
    ask: Ask,
    { signal, address }: Client,
    decide: (waitedMs: number) => Decided,
  ): Promise<Decided> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw clientGone();
      let watched: WatchedClient | undefined;
      const over = (): void => {
        signal?.removeEventListener('abort', leave);
        watched?.over();
      };
      const ends = {
        granted: (waitedMs: number): void => {
          over();
          try {
            resolve(decide(waitedMs));
          } catch (thrown) {
            reject(thrown);
          }
        },
        refused: (error: CognitoraError): void => {
          over();
          reject(error);
        },
      };
      const ticket: Ticket | undefined = this.#admission.enter(ask, ends, this.#clock());
      const leave = (): void => {
        over();
        if (ticket !== undefined) this.#admission.leave(ticket);
        reject(clientGone());
      };
      if (ticket === undefined) {
        resolve(decide(0));
        return;
      }
      signal?.addEventListener('abort', leave, { once: true });
      watched = watchClient(address, this.#clock, leave);
      this.#timer ??= setInterval(() => this.#look(), queueLookMs);
    });
  }

  /** Seats may have become free. */
  grant(): void {
    if (this.#timer !== undefined) this.#admission.grant(this.#clock());
  }

  #look(): void {
    this.#admission.look(this.#clock());
    if (this.#admission.isAnyWaiting || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

const clientGone = (): CognitoraError => new CognitoraError('client_gone', 'The client left.');
