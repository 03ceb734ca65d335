/** What a process of the chaos run's clients is asked and answers. */
import type { Outcome } from './outcome.ts';

export interface ClientPlan {
  /** With `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
  /** Requests are named after it: `chaos-a-0-17`. */
  readonly name: string;
  readonly seed: number;
  /** At once. */
  readonly streams: number;
  /** A stream that ended is followed by another one until then, from the beginning on. 0: each runs once. */
  readonly againMs: number;
  /** The first ones begin spread over this time. */
  readonly spreadMs: number;
  /** Of an answer. */
  readonly words: readonly [min: number, max: number];
  /** Of a real engine nobody knows beforehand what it says: texts are kept, not judged. Words are tokens then. */
  readonly isReal: boolean;
}

export interface StreamRecord {
  readonly requestId: string;
  readonly outcome: Outcome;
  /** Of an error that the client was told, or what broke. */
  readonly code?: string;
  readonly message?: string;
  readonly words: number;
  readonly ttftMs: number;
  /** Between two chunks. */
  readonly longestGapMs: number;
  /** When that began, and when all was over: microseconds of the machine's monotonic clock. */
  readonly gapBeganUs: number;
  readonly endedUs: number;
  /** What one undisturbed stream never shows: a second id, a second role, a usage that does not add up. */
  readonly oddities: readonly string[];
  readonly text?: string;
}
