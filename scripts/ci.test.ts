import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const textOf = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('CI runs the README’s test command, beside it the stacks’ tests, then the gate, and fails where one fails', () => {
  const command = /^(npm .*\S) +# .*\btests\b/m.exec(textOf('README.md'))?.[1] ?? 'none in the README';
  expect(command).toBe('npm ci && npm test');
  const steps = textOf('.ci/run')
    .split('\n')
    .filter((line) => /^(?:\(?npm|wait|stacks=|tee|status=)/.test(line));
  expect(steps).toEqual([
    'status=0',
    '(npm --prefix infra ci && until [ -e "$installed" ]; do sleep 1; done && npm --prefix infra test) \\',
    'stacks=$!',
    'npm ci 2>&1 | tee "$output" || status=1',
    'npm test 2>&1 | tee -a "$output" || status=1',
    'wait "$stacks" || status=1',
    'tee -a "$output" <"$stacks_output"',
    'npm run gate 2>&1 | tee -a "$output" || status=1',
  ]);
  const { scripts } = JSON.parse(textOf('infra/package.json')) as {
    readonly scripts: Record<string, string>;
  };
  // The stacks' types are checked before their tests.
  expect(scripts).toMatchObject({ types: 'tsc -p .', test: 'npm run types && vitest run' });
});

test('CI installs the Redis programs before it runs the tests that need them', () => {
  const script = textOf('.ci/run');
  const install = script.search(/apt-get install .*\bredis-server redis-tools$/m);
  expect(install).toBeGreaterThan(0);
  expect(install).toBeLessThan(script.indexOf('npm ci'));
  expect(textOf('README.md')).toContain('apt-get install redis-server curl openssl');
});

test('CI installs what install.sh runs where it is missing', () => {
  const [, programs = ''] = /^for program in (.*); do$/m.exec(textOf('.ci/run')) ?? [];
  const [, packages = ''] = /apt-get install .*--no-install-recommends (.*)$/m.exec(textOf('.ci/run')) ?? [];
  for (const tool of ['curl', 'openssl']) {
    expect(programs.split(' ')).toContain(tool);
    expect(packages.split(' ')).toContain(tool);
  }
});
