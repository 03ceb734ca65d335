/** What the rooms' package.json files promise npm: each names what it imports of ours, and its programs can be run. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { version } from '@cognitora/protocol/version';
import { expect, test } from 'vitest';

const root = new URL('../', import.meta.url);
const textOf = (path: string): string => readFileSync(new URL(path, root), 'utf8');
/** What git keeps: mode, then path. */
const kept = execFileSync('git', ['ls-files', '-s', '-z'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((line) => line !== '')
  .map((line) => ({ mode: line.slice(0, 6), path: line.slice(line.indexOf('\t') + 1) }));

interface Package {
  readonly version?: string;
  readonly workspaces?: readonly string[];
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}
const packageOf = (folder: string): Package => JSON.parse(textOf(`${folder}/package.json`)) as Package;
const rooms = packageOf('.').workspaces ?? [];
const importPattern = /^(?:import|export|\}).*? from '@cognitora\/([\w-]+)\//gm;

test.each(rooms)('%s lists every room it imports', (room) => {
  const { dependencies, devDependencies } = packageOf(room);
  const listed = Object.keys({ ...dependencies, ...devDependencies });
  const sources = kept.filter(({ path }) => path.startsWith(`${room}/`) && path.endsWith('.ts'));
  expect(sources.length).toBeGreaterThan(0);
  const imported = sources.flatMap(({ path }) =>
    [...textOf(path).matchAll(importPattern)].map(([, name]) => `@cognitora/${name}`),
  );
  expect([...new Set(imported)].filter((name) => !listed.includes(name))).toEqual([]);
});

test('programs are committed executable: npm ci makes them so, and must leave a fresh clone clean', () => {
  const programs = rooms.flatMap((room) =>
    Object.values(packageOf(room).bin ?? {}).map((path) => `${room}/${path}`),
  );
  expect(programs).toContain('cli/src/cgn.ts');
  for (const program of programs) {
    expect(kept.find(({ path }) => path === program)).toEqual({ mode: '100755', path: program });
  }
});

test.each(['.', ...rooms, 'infra'])('%s, and what it takes of ours, is of the one version', (folder) => {
  const { version: own, dependencies, devDependencies } = packageOf(folder);
  const ours = Object.entries({ ...dependencies, ...devDependencies }).filter(([name]) =>
    name.startsWith('@cognitora/'),
  );
  expect([own, ...ours.map(([, wanted]) => wanted)]).toEqual(Array(1 + ours.length).fill(version));
});
