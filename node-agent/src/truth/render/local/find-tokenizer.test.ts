import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTokenizer, hubDirectory } from './find-tokenizer.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cognitora-hub-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const put = (path: string, text = '{}'): void => {
  mkdirSync(join(home, path, '..'), { recursive: true });
  writeFileSync(join(home, path), text);
};

test('a directory with the file is taken as it is, one without is not', () => {
  put('model/tokenizer.json');
  mkdirSync(join(home, 'gguf'));
  expect(findTokenizer(join(home, 'model'), {})).toBe(join(home, 'model'));
  expect(findTokenizer(join(home, 'gguf'), {})).toBeUndefined();
  expect(findTokenizer(join(home, 'nowhere'), {})).toBeUndefined();
});

test('a name is looked for in the cache of the hub, at the revision that is current there', () => {
  const model = 'hub/models--Qwen--Qwen3-8B';
  put(`${model}/refs/main`, 'abc123\n');
  put(`${model}/snapshots/abc123/tokenizer.json`);
  put(`${model}/snapshots/older/tokenizer.json`);
  const found = join(home, model, 'snapshots/abc123');
  expect(findTokenizer('Qwen/Qwen3-8B', { HF_HOME: home })).toBe(found);
  expect(findTokenizer('Qwen/Qwen3-8B', { HF_HUB_CACHE: join(home, 'hub') })).toBe(found);
  expect(findTokenizer('Qwen/Qwen3-4B', { HF_HOME: home })).toBeUndefined();
});

test('neither a name nor a revision leads out of the cache', () => {
  put('tokenizer.json');
  put('hub/models--a--b/refs/main', '../../..');
  put('hub/models--a--c/refs/main', 'x'.repeat(300));
  for (const name of ['a/b', 'a/c', '../a/b', 'a/../b', '..', 'a/b/c', '']) {
    expect(findTokenizer(name, { HF_HOME: home })).toBeUndefined();
  }
});

test('the cache is where the variables say, the narrowest first', () => {
  const all = { HF_HUB_CACHE: '/hub', HF_HOME: '/hf', XDG_CACHE_HOME: '/cache' };
  expect(hubDirectory(all)).toBe('/hub');
  expect(hubDirectory({ ...all, HF_HUB_CACHE: undefined })).toBe('/hf/hub');
  expect(hubDirectory({ XDG_CACHE_HOME: '/cache' })).toBe('/cache/huggingface/hub');
  expect(hubDirectory({})).toBe(join(homedir(), '.cache/huggingface/hub'));
});
