/** What a part of `bench:kv` returns: figures and goals for programs, a table for people, raw values to keep. */
import type { Goal } from '../report/result.ts';

export interface RowResult {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly goals: Readonly<Record<string, Goal>>;
  readonly raw: unknown;
  readonly text: string;
}

export const mebibyte = 2 ** 20;
