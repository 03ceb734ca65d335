/**
 * How a bench reports: goals with their verdict, a table for people, one JSON line for programs, and on
 * request the whole result with method, machine and raw values under `bench/results`. A missed goal is a
 * result, not an error.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { wallIso } from '../machine/clock.ts';
import { describeMachine, machineLine } from '../machine/describe.ts';
import { table } from './table.ts';

export interface Goal {
  /** The goal in words and numbers, as design.md has it. */
  readonly goal: string;
  /** What was measured. */
  readonly value: number | string;
  /** Null: could not be measured today. */
  readonly met: boolean | null;
}

export interface BenchResult {
  readonly name: string;
  readonly figures: Readonly<Record<string, unknown>>;
  readonly goals: Readonly<Record<string, Goal>>;
}

export interface Report extends BenchResult {
  readonly method: string;
  readonly raw: unknown;
}

export interface ReportOptions {
  readonly json: boolean;
  readonly save: boolean;
}

const verdict = (met: boolean | null): string => (met === null ? 'not measurable' : met ? 'met' : 'missed');

/** A goal that a number below (or equal to) a limit meets. */
export const below = (goal: string, value: number, limit: number, orEqual = false): Goal => ({
  goal,
  value: Math.round(value * 1000) / 1000,
  met: Number.isNaN(value) ? null : orEqual ? value <= limit : value < limit,
});

/** Takes the machine's state now: call before the run. Returns what to call with the report after it. */
export const beginReport = (): ((report: Report, options: ReportOptions) => void) => {
  const machine = describeMachine();
  const startedAt = wallIso();
  return ({ method, raw, name, figures, goals }, { json, save }) => {
    const write = (line: string): void => {
      process.stdout.write(`${line}\n`);
    };
    const rows = Object.entries(goals).map(([key, { goal, value, met }]) => [
      key,
      goal,
      String(value),
      verdict(met),
    ]);
    if (rows.length > 0) write(`\n${table(['goal', 'asked', 'measured', 'verdict'], rows)}`);
    write(`\n${machineLine(machine)}`);
    if (save) {
      const directory = join(import.meta.dirname, '../results');
      mkdirSync(directory, { recursive: true });
      const path = join(directory, `${startedAt.slice(0, 10)}-${name}.json`);
      const whole = { name, startedAt, machine, method, figures, goals, raw };
      writeFileSync(path, `${JSON.stringify(whole, null, 1)}\n`);
      write(`saved ${path}`);
    }
    if (json) write(JSON.stringify({ name, figures, goals }));
  };
};
