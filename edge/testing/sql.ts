/** A region's database for tests in Node: a real SQLite in memory behind the platform's `exec`. For tests only. */
import { DatabaseSync } from 'node:sqlite';

export class TestDatabase {
  readonly #database = new DatabaseSync(':memory:');
  /** Statements so far that write. */
  writes = 0;

  /** Of every object that opens it: what one wrote, the next finds. */
  get sql(): SqlStorage {
    const exec = (text: string, ...values: (string | number | null)[]) => {
      // A schema may be several statements.
      if (/^\s*CREATE/.test(text)) {
        this.#database.exec(text);
        return { toArray: () => [], [Symbol.iterator]: () => [].values() };
      }
      if (/^\s*(INSERT|UPDATE|DELETE)/.test(text)) this.writes += 1;
      const rows = this.#database.prepare(text).all(...values);
      return { toArray: () => rows, [Symbol.iterator]: () => rows.values() };
    };
    return { exec } as unknown as SqlStorage;
  }
}
