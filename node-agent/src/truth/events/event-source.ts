/** What every way to hear of a cache's blocks has in common. Types only. */
import type { KvEvent } from './wire.ts';

/** Engines of several ranks cache in each by itself; all others are rank 0. */
export type OnEvents = (events: readonly KvEvent[], rank: number) => void;

export interface EventSource {
  /** What is heard here is heard by nobody else: it is not followed until that is of use. */
  readonly isTakenAway: boolean;
  /** How many there are at least. */
  readonly ranks: number;
  /** Hears what the engine says from now on. */
  follow(onEvents: OnEvents): void;
  /** The engine is another one. */
  reset(): void;
  close(): void;
}
