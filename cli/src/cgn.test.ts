/** The program itself, as a process: what it says before any command is chosen. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { asInstalled } from './terminal.ts';

const says = (argument: string): string =>
  execFileSync(process.execPath, [fileURLToPath(new URL('cgn.ts', import.meta.url)), argument], {
    encoding: 'utf8',
  });

test('its version is that of its package', () => {
  const packageJson = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(packageJson) as { version: string };
  expect(says('--version')).toBe(`cgn ${version}\n`);
});

test('help says how commands are called here, and where a release is installed', () => {
  const here = says('--help');
  expect(here).toContain('"npm run cgn -- COMMAND --help" says more');
  expect(here).toContain('Start with: npm run cgn -- up');
  const installed = asInstalled(here);
  expect(installed).toContain(
    '"cgn COMMAND --help" says more, "cgn --version" which this is.\nStart with: cgn up',
  );
  expect(installed).not.toMatch(/npm|checkout/);
});

test('help has a line for each command, their summaries below each other', () => {
  const lines = says('--help').match(/^ {2}cgn .*/gm) ?? [];
  const starts = lines.map((line) => /^ {2}cgn \S+ {2,}/.exec(line)?.[0].length);
  expect(lines.length).toBeGreaterThan(5);
  expect(new Set(starts).size).toBe(1);
});
