/**
 * The clients whose requests are carried here, by address, so that their supervisor can say which of them hung up: see
 * `protocol/src/supervisor.ts`. One table for all objects: plain workerd, which alone needs it, has one isolate.
 */
import { clientsWatchedMax, hangUpHoldMs, quietMs } from '@cognitora/protocol/limits';
import type { Clock } from '../clock.ts';

export interface WatchedClient {
  /** Something was written to the client just now: had it left, the runtime would know. */
  wrote(): void;
  /** Its request is over. */
  over(): void;
}

interface Entry {
  /** Wakes the request's own context: acting for it in another would be refused. */
  readonly hangUp: () => void;
  wroteMs: number;
}

const watched = new Map<string, Entry>();

/** Wakes who waits for a first client. */
let wake: (() => void) | undefined;

/** Between two looks while an answer is held back. */
const lookEveryMs = quietMs / 2;

/** Resolves once there is any client to watch over. */
const untilAnyClient = (): Promise<void> =>
  watched.size > 0
    ? Promise.resolve()
    : new Promise((accept) => {
        wake = accept;
      });

const unwatched: WatchedClient = { wrote: () => {}, over: () => {} };

/** Watches over a client until its request is over; a connection carries one request at a time. */
export const watchClient = (
  client: string | undefined,
  clock: Clock,
  onHangUp: () => void,
): WatchedClient => {
  if (client === undefined || watched.size >= clientsWatchedMax) return unwatched;
  let hangUp = (): void => {};
  void new Promise<void>((accept) => {
    hangUp = accept;
  }).then(onHangUp);
  const entry: Entry = { hangUp, wroteMs: clock() };
  watched.set(client, entry);
  wake?.();
  wake = undefined;
  return {
    wrote: () => {
      entry.wroteMs = clock();
    },
    over: () => {
      if (watched.get(client) === entry) watched.delete(client);
    },
  };
};

/** These clients hung up; those that are not here meant nothing. */
export const clientsHungUp = (clients: readonly string[]): void => {
  for (const client of clients) {
    watched.get(client)?.hangUp();
    watched.delete(client);
  }
};

/** How many clients have had nothing for so long that one may have left unnoticed. */
export const quietClients = (nowMs: number): number => {
  let quiet = 0;
  for (const { wroteMs } of watched.values()) if (nowMs - wroteMs >= quietMs) quiet += 1;
  return quiet;
};

/** How many clients are quiet, once one is, or nobody was for long. */
export const untilQuiet = async (clock: Clock): Promise<number> => {
  const untilMs = clock() + hangUpHoldMs;
  const heldLong = sleep(hangUpHoldMs);
  for (;;) {
    await Promise.race([untilAnyClient(), heldLong]);
    const quiet = quietClients(clock());
    if (quiet > 0 || clock() >= untilMs) return quiet;
    await sleep(lookEveryMs);
  }
};

const sleep = (ms: number): Promise<void> => new Promise((accept) => setTimeout(accept, ms));
