import { expect, test } from 'vitest';
import { ContextChanges } from './context-changes.ts';

test('an evaluation waits for all changes wanted, those that come meanwhile and those that fail included', async () => {
  const changes = new ContextChanges();
  await changes.settled();
  const steps: string[] = [];
  const one = Promise.withResolvers<string>();
  const other = Promise.withResolvers<string>();
  const made = changes.make(() => one.promise);
  const settled = changes.settled().then(() => steps.push('evaluated'));
  const failed = changes.make(() => other.promise).catch(() => steps.push('failed'));
  one.resolve('made');
  expect(await made).toBe('made');
  await new Promise((accept) => setImmediate(accept));
  expect(steps).toEqual([]);
  other.reject(new Error('no room'));
  await Promise.all([settled, failed]);
  expect(steps).toEqual(['failed', 'evaluated']);
  await changes.settled();
});
