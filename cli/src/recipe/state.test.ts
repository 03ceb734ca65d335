import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isKept, nameless, type RecipeState, saveState, stateIn } from './state.ts';

let place = '';
let data = '';
const running: ChildProcess[] = [];

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'recipe-state-'));
  data = join(place, 'data');
  mkdirSync(data);
  mkdirSync(join(place, 'recipe'));
  writeFileSync(join(place, 'recipe/keeper.ts'), 'setInterval(() => {}, 1000);\n');
});
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  rmSync(place, { recursive: true });
});

const stateOf = (pid: number): RecipeState => ({ recipe: 'a/b/c', pid, startedAtMs: 1, edge: 'http://x' });

const started = async (...argv: string[]): Promise<number> => {
  const child = spawn(process.execPath, argv, { stdio: 'ignore' });
  running.push(child);
  await new Promise((accept) => child.once('spawn', accept));
  return child.pid ?? 0;
};

test('a keeper is known by its program and its directory, whatever the directory is called', async () => {
  const keeper = join(place, 'recipe/keeper.ts');
  const pid = await started(keeper, '--recipe', 'a/b/c', '--data-dir', data, '--port', '1');
  const link = join(place, 'link');
  symlinkSync(data, link);
  mkdirSync(`${data}-2`);
  expect([data, link, `${data}-2`].map((one) => isKept(stateOf(pid), one))).toEqual([true, true, false]);
  const other = await started('-e', 'setInterval(() => {}, 1000)', '--', keeper, '--data-dir', data);
  expect(isKept(stateOf(other), data)).toBe(false);
});

test('one whose state cannot be read is found by its lock', async () => {
  const pid = await started(join(place, 'recipe/keeper.ts'), '--data-dir', data);
  saveState(data, stateOf(pid));
  expect([stateIn(data)?.pid, nameless(data)]).toEqual([pid, undefined]);
  writeFileSync(join(data, 'recipe.json'), '{"recipe":');
  writeFileSync(join(data, 'up.lock'), `${pid}\n`);
  expect([stateIn(data), nameless(data)]).toEqual([undefined, pid]);
});
