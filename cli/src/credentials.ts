/**
 * What `cgn up` remembers in `<data-dir>/credentials`, mode 0600: the admin key, the fleet's secret, the API key it
 * printed, and where its edge listened. Everything here is made at random on first use; there are no defaults.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { withFile } from './file-trouble.ts';
import { UserError } from './terminal.ts';

export interface Credentials {
  readonly adminKey: string;
  readonly fleetSecret: string;
  readonly apiKey?: string;
  /** Where the edge listened last: the other commands find it here. */
  readonly url?: string;
}

const pathOf = (dataDirectory: string): string => join(dataDirectory, 'credentials');

const readText = (record: Readonly<Record<string, unknown>>, name: string): string | undefined => {
  const value = record[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
};

/** The credentials of a data directory; undefined when it has none yet. */
export const loadCredentials = (dataDirectory: string): Credentials | undefined => {
  const path = pathOf(dataDirectory);
  if (!existsSync(path)) return undefined;
  const fields = jsonRecordIn(withFile(path, () => readFileSync(path, 'utf8'))) ?? {};
  const adminKey = readText(fields, 'adminKey');
  const fleetSecret = readText(fields, 'fleetSecret');
  if (adminKey === undefined || fleetSecret === undefined) {
    throw new UserError(`${path} is damaged. Restore it, or start over with another --data-dir.`);
  }
  withFile(path, () => chmodSync(path, 0o600));
  const optional: { apiKey?: string; url?: string } = {};
  for (const name of ['apiKey', 'url'] as const) {
    const value = readText(fields, name);
    if (value !== undefined) optional[name] = value;
  }
  return { adminKey, fleetSecret, ...optional };
};

export const saveCredentials = (dataDirectory: string, credentials: Credentials): void => {
  withFile(dataDirectory, () => mkdirSync(dataDirectory, { recursive: true, mode: 0o700 }));
  const path = pathOf(dataDirectory);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    withFile(path, () => {
      writeFileSync(temporary, `${JSON.stringify(credentials, undefined, 2)}\n`, { mode: 0o600 });
      renameSync(temporary, path);
    });
  } finally {
    rmSync(temporary, { force: true });
  }
};

export const loadOrCreateCredentials = (dataDirectory: string): Credentials => {
  const known = loadCredentials(dataDirectory);
  if (known !== undefined) return known;
  const made = {
    adminKey: `cga_${randomBytes(32).toString('base64url')}`,
    fleetSecret: randomBytes(32).toString('base64url'),
  };
  saveCredentials(dataDirectory, made);
  return made;
};

/** How the admin key reaches the edge. */
export const adminKeyHashOf = (adminKey: string): string =>
  createHash('sha256').update(adminKey).digest('hex');
