/** The stack "cloudflare" and `wrangler deploy` bring up the same Worker: what one of them would miss is an error. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pendingMigrations, readWranglerToml } from './wrangler-toml.ts';

const own = readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8');

test('the repository’s own file is read whole', () => {
  const plan = readWranglerToml(own);
  expect(plan.name).toBe('cognitora-edge');
  expect(plan.objects.map(({ className }) => className)).toEqual(['Region', 'NodeLink', 'Registry']);
  expect(plan.migrations).toEqual([{ tag: 'v1', newSqliteClasses: ['Region', 'NodeLink', 'Registry'] }]);
  expect(plan.variables.LAYOUT).toBe('object-per-node');
  expect(plan.compatibilityFlags).toEqual(['enable_request_signal']);
});

test('a key that the stack would leave out is an error', () => {
  expect(() => readWranglerToml(`kv_namespaces = []\n${own}`)).toThrow('kv_namespaces, which');
  expect(() => readWranglerToml(own.replace('class_name', 'script_name = "other"\nclass_name'))).toThrow(
    'script_name',
  );
  expect(() => readWranglerToml(own.replace('new_sqlite_classes', 'new_classes'))).toThrow('new_classes');
});

test('migrations go on behind the one that was done', () => {
  const all = ['v1', 'v2', 'v3'].map((tag) => ({ tag, newSqliteClasses: [] }));
  const tags = (done: string) => pendingMigrations(all, done).map(({ tag }) => tag);
  expect(tags('')).toEqual(['v1', 'v2', 'v3']);
  expect(tags('v1')).toEqual(['v2', 'v3']);
  expect(tags('v3')).toEqual([]);
  expect(() => tags('v9')).toThrow('this clone is too old');
});
