/**
 * An object's database, which survives it, behind a disk that may be slow: what was written counts once the disk
 * confirmed it, and nothing the object says leaves it before. A crash takes back what was not confirmed.
 */
import { DatabaseSync } from 'node:sqlite';
import type { Later, Schedule } from './schedule.ts';

type Value = string | number | null;

export class ObjectStorage {
  readonly #schedule: Schedule;
  readonly #database = new DatabaseSync(':memory:');
  readonly #diskMs: () => number;
  #isOpen = false;
  #confirmation: Later | undefined;
  /** What waits for it, in order. */
  readonly #unsaid: (() => void)[] = [];

  /** `diskMs`: what a write takes now until it is on the disk. */
  constructor(schedule: Schedule, diskMs: () => number) {
    this.#schedule = schedule;
    this.#diskMs = diskMs;
  }

  readonly sql = {
    exec: (text: string, ...values: Value[]) => this.#exec(text, values),
  };

  /** Says it once all that was written so far is on the disk; never, if the object crashes before. */
  whenConfirmed(say: () => void): void {
    if (this.#isOpen) this.#unsaid.push(say);
    else say();
  }

  crash(): void {
    if (this.#isOpen) this.#database.exec('ROLLBACK');
    this.#isOpen = false;
    this.#confirmation?.cancel();
    this.#unsaid.length = 0;
  }

  #exec(text: string, values: readonly Value[]) {
    if (/^\s*CREATE/.test(text)) {
      this.#database.exec(text);
      return cursorOf([], 0);
    }
    if (!/^\s*(INSERT|UPDATE|DELETE)/.test(text)) {
      return cursorOf(this.#database.prepare(text).all(...values), 0);
    }
    this.#written();
    if (/RETURNING/.test(text)) return cursorOf(this.#database.prepare(text).all(...values), 1);
    return cursorOf([], Number(this.#database.prepare(text).run(...values).changes));
  }

  #written(): void {
    const diskMs = this.#diskMs();
    if (diskMs === 0 && !this.#isOpen) return;
    if (!this.#isOpen) this.#database.exec('BEGIN');
    this.#isOpen = true;
    this.#confirmation?.cancel();
    this.#confirmation = this.#schedule.after(diskMs, () => {
      this.#database.exec('COMMIT');
      this.#isOpen = false;
      for (const say of this.#unsaid.splice(0)) say();
    });
  }
}

const cursorOf = (rows: readonly unknown[], rowsWritten: number) => ({
  toArray: () => rows,
  one: () => rows[0],
  [Symbol.iterator]: () => rows.values(),
  rowsWritten,
});
