/** The program itself, as a process: what it says before any command is chosen. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** As if npm ran a script of that name; '': as if nobody did. */
const says = (argument: string, script = ''): string =>
  execFileSync(process.execPath, [fileURLToPath(new URL('cgn.ts', import.meta.url)), argument], {
    encoding: 'utf8',
    env: { ...process.env, npm_lifecycle_event: script },
  });

test('its version is that of its package', () => {
  const packageJson = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(packageJson) as { version: string };
  expect(says('--version')).toBe(`cgn ${version}\n`);
});

test('help names commands in one form: as npm runs them where that runs us, else by themselves', () => {
  for (const script of ['cgn', 'start']) {
    const byNpm = says('--help', script);
    expect(byNpm).toContain('"npm run cgn -- COMMAND --help" says more');
    expect(byNpm).toContain('Start with: npm run cgn -- up');
    expect(byNpm).not.toMatch(/(?<!npm run )cgn (?!--)/);
  }
  for (const script of ['', 'npx', 'test']) {
    const alone = says('--help', script);
    expect(alone).toContain(
      '"cgn COMMAND --help" says more, "cgn --version" which this is.\nStart with: cgn up',
    );
    expect(alone).not.toMatch(/npm|checkout/);
  }
});

test('help has a line for each command, their summaries below each other', () => {
  const lines = says('--help').match(/^ {2}\S+ {2,}.*/gm) ?? [];
  const starts = lines.map((line) => /^ {2}\S+ {2,}/.exec(line)?.[0].length);
  expect(lines.length).toBeGreaterThan(5);
  expect(new Set(starts).size).toBe(1);
});
