/**
 * Which policy decides which model, kept durably in the region's own database and applied to its directory: when the
 * object starts, and whenever it is changed. A model without an entry is decided by the default policy.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { modelsRememberedMax } from '@cognitora/protocol/limits';
import { defaultPolicy, type Policy, policies, policyOf } from '../policy/policy.ts';
import type { Directory } from './directory.ts';
import type { Policies } from './served-model.ts';

/** Throws `invalid_request` for a name that no policy has. */
const named = (name: string, param: string): Policy => {
  const policy = policyOf(name);
  if (policy !== undefined) return policy;
  const names = policies.map((known) => known.name).join(', ');
  throw new CognitoraError(
    'invalid_request',
    `There is no policy ${JSON.stringify(name)}: choose of ${names}.`,
    {
      param,
    },
  );
};

export class PolicyStore {
  readonly #sql: SqlStorage;
  readonly #directory: Directory;

  constructor(sql: SqlStorage, directory: Directory) {
    this.#sql = sql;
    this.#directory = directory;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS policies (
        model TEXT PRIMARY KEY, policy TEXT NOT NULL, shadow TEXT
      ) WITHOUT ROWID`,
    );
    for (const { model, policy, shadow } of sql.exec('SELECT model, policy, shadow FROM policies')) {
      // A policy that this version does not have any more is as good as none.
      const kept: Policies = {
        policy: policyOf(String(policy)) ?? defaultPolicy,
        shadow: shadow === null ? undefined : policyOf(String(shadow)),
      };
      directory.usePolicies(String(model), kept);
    }
  }

  /** Undefined `policy`: the default again. Throws `invalid_request`. */
  use(model: string, policy: string | undefined, shadow: string | undefined): void {
    if (policy === undefined && shadow === undefined) {
      this.#sql.exec('DELETE FROM policies WHERE model = ?', model);
      this.#directory.usePolicies(model, undefined);
      return;
    }
    const chosen: Policies = {
      policy: named(policy ?? defaultPolicy.name, 'policy'),
      shadow: shadow === undefined ? undefined : named(shadow, 'shadow'),
    };
    const [count] = this.#sql
      .exec('SELECT COUNT(*) AS models FROM policies WHERE model <> ?', model)
      .toArray();
    if (Number(count?.models) >= modelsRememberedMax) {
      throw new CognitoraError('invalid_request', 'Too many models have a policy of their own.');
    }
    this.#sql.exec(
      `INSERT INTO policies (model, policy, shadow) VALUES (?1, ?2, ?3)
       ON CONFLICT (model) DO UPDATE SET policy = ?2, shadow = ?3`,
      ...[model, chosen.policy.name, chosen.shadow?.name ?? null],
    );
    this.#directory.usePolicies(model, chosen);
  }
}
