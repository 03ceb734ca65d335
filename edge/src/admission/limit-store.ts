/**
 * Which limits an operator set, kept durably in the region's own database and applied to its admission: when the object
 * starts, and whenever they are changed. Who has no entry has the defaults.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { limitsKeptMax } from '@cognitora/protocol/limits';
import { type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import type { Admission } from './admission.ts';
import { type LimitKind, readModelLimits, readTenantLimits } from './limits.ts';

export class LimitStore {
  readonly #sql: SqlStorage;
  readonly #admission: Admission;

  constructor(sql: SqlStorage, admission: Admission) {
    this.#sql = sql;
    this.#admission = admission;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS limits (
        kind TEXT NOT NULL, name TEXT NOT NULL, limits TEXT NOT NULL, PRIMARY KEY (kind, name)
      ) WITHOUT ROWID`,
    );
    for (const { kind, name, limits } of sql.exec('SELECT kind, name, limits FROM limits')) {
      this.#restore(String(kind) as LimitKind, String(name), String(limits));
    }
  }

  /** Undefined `record`: the defaults again. Throws `invalid_request`. */
  use(kind: LimitKind, name: string, record: JsonRecord | undefined): void {
    if (record === undefined) {
      this.#apply(kind, name, undefined);
      this.#sql.exec('DELETE FROM limits WHERE kind = ? AND name = ?', kind, name);
      return;
    }
    // Read before it is kept: only what can be read again is.
    const limits = kind === 'models' ? readModelLimits(record) : readTenantLimits(record);
    const [count] = this.#sql
      .exec('SELECT COUNT(*) AS others FROM limits WHERE kind = ? AND name <> ?', kind, name)
      .toArray();
    if (Number(count?.others) >= limitsKeptMax) {
      throw new CognitoraError('invalid_request', `Too many ${kind} have limits of their own.`);
    }
    this.#sql.exec(
      `INSERT INTO limits (kind, name, limits) VALUES (?1, ?2, ?3)
       ON CONFLICT (kind, name) DO UPDATE SET limits = ?3`,
      ...[kind, name, JSON.stringify(limits)],
    );
    this.#apply(kind, name, record);
  }

  /** What this version cannot read any more is as good as not set. */
  #restore(kind: LimitKind, name: string, json: string): void {
    try {
      this.#apply(kind, name, jsonRecordIn(json));
    } catch {
      this.#apply(kind, name, undefined);
    }
  }

  #apply(kind: LimitKind, name: string, record: JsonRecord | undefined): void {
    if (kind === 'models') this.#admission.useModel(name, record && readModelLimits(record));
    else this.#admission.useTenant(name, record && readTenantLimits(record));
  }
}
