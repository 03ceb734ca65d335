import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const textOf = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('CI runs the README’s test command as it stands there, then the gate', () => {
  const command = /^(npm .*\S) +# .*\btests\b/m.exec(textOf('README.md'))?.[1] ?? 'none in the README';
  const script = textOf('.ci/run');
  expect(script).toContain(`(${command}) 2>&1`);
  expect(script.indexOf('npm run gate')).toBeGreaterThan(script.indexOf(command));
});

test('CI installs the Redis programs before it runs the tests that need them', () => {
  const script = textOf('.ci/run');
  const install = script.search(/apt-get install .*\bredis-server redis-tools$/m);
  expect(install).toBeGreaterThan(0);
  expect(install).toBeLessThan(script.indexOf('npm ci'));
  expect(textOf('README.md')).toContain('apt-get install redis-server');
});
