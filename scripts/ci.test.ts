import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const textOf = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

/** Where that line begins in the script. */
const lineOf = (script: string, line: string): number => script.indexOf(`\n${line}\n`);

test('CI runs the README’s test command, then the gate, and fails where one of them does', () => {
  const command = /^(npm .*\S) +# .*\btests\b/m.exec(textOf('README.md'))?.[1] ?? 'none in the README';
  const script = textOf('.ci/run');
  const steps = [...command.split(' && '), 'npm run gate'];
  expect(steps).toEqual(['npm ci', 'npm test', 'npm run gate']);
  const places = steps.map((step, at) =>
    lineOf(script, `${step} 2>&1 | tee ${at === 0 ? '' : '-a '}"$output" || status=1`),
  );
  expect(places).toEqual([...places].sort((a, b) => a - b));
  expect(places[0]).toBeGreaterThan(0);
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

test('CI installs and tests the stacks beside the unit tests, by a command that type-checks them first', () => {
  const script = textOf('.ci/run');
  const places = [
    'npm ci 2>&1 | tee "$output" || status=1',
    '(npm --prefix infra ci && npm --prefix infra test) >"$stacks_output" 2>&1 &\nstacks=$!',
    'npm test 2>&1 | tee -a "$output" || status=1\nwait "$stacks" || status=1\ntee -a "$output" <"$stacks_output"',
    'npm run gate 2>&1 | tee -a "$output" || status=1',
  ].map((line) => lineOf(script, line));
  expect(places).toEqual([...places].sort((a, b) => a - b));
  expect(places[0]).toBeGreaterThan(0);
  const { scripts } = JSON.parse(textOf('infra/package.json')) as {
    readonly scripts: Record<string, string>;
  };
  expect(scripts).toMatchObject({ types: 'tsc -p .', test: 'npm run types && vitest run' });
});
