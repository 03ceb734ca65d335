import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newDirectory } from '../../../testing/directories.ts';
import { UserError } from '../../terminal.ts';
import type { StorePlace } from './store.ts';
import { storeNames, storeOf } from './stores.ts';

const placeOf = (id: string, environment: StorePlace['environment'] = {}): StorePlace => ({
  ...{ id, dataDirectory: '/data', environment: { HOME: '/people/u', ...environment } },
});

test.each<
  [store: 'hub' | 'file' | 'ollama', id: string, environment: StorePlace['environment'], path: string]
>([
  ['hub', 'Qwen/Qwen3-8B', {}, '/people/u/.cache/huggingface/hub/models--Qwen--Qwen3-8B'],
  ['hub', 'a/b', { XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub/models--a--b'],
  ['hub', 'a/b', { XDG_CACHE_HOME: '/x', HF_HOME: '/hf' }, '/hf/hub/models--a--b'],
  ['hub', 'a/b', { HF_HOME: '/hf', HF_HUB_CACHE: '/hub' }, '/hub/models--a--b'],
  ['file', 'hf:o/r/m.gguf', {}, '/data/models/hf/o/r/m.gguf'],
  ['ollama', 'llama3.2:3b', {}, '/people/u/.ollama/models'],
  ['ollama', 'llama3.2:3b', { OLLAMA_MODELS: '/o' }, '/o'],
])('%s keeps %s, with %j, at %s', (store, id, environment, path) => {
  expect(storeOf(store).pathOf(placeOf(id, environment))).toBe(path);
});

test('every store says what an engine is given, and whether it is there', () => {
  for (const name of storeNames) {
    const store = storeOf(name);
    expect(store.name).toBe(name);
    expect(store.modelOf({ id: 'x', dataDirectory: '/data' })).toMatch(/x$/);
    expect(store.isThere(placeOf('x'))).toBe(name === 'made');
  }
});

test('a model of the hub is there once all of its files are', () => {
  const cache = newDirectory();
  const place = placeOf('a/b', { HF_HUB_CACHE: cache });
  const blobs = join(cache, 'models--a--b/blobs');
  const snapshot = join(cache, 'models--a--b/snapshots/main');
  for (const path of [blobs, snapshot]) mkdirSync(path, { recursive: true });
  const { isThere, bytesThere } = storeOf('hub');
  writeFileSync(join(snapshot, 'config.json'), '');
  expect(isThere(place)).toBe(false);
  writeFileSync(join(snapshot, 'model-00001-of-00002.safetensors'), '');
  expect(isThere(place)).toBe(false);
  writeFileSync(join(snapshot, 'model-00002-of-00002.safetensors'), '');
  expect(isThere(place)).toBe(true);
  writeFileSync(join(blobs, 'abc.incomplete'), '12345');
  expect(isThere(place)).toBe(false);
  expect(bytesThere?.(place)).toBe(5);
});

test('a model of Ollama is there once its manifest is', () => {
  const models = newDirectory();
  const place = placeOf('llama3.2:3b', { OLLAMA_MODELS: models });
  expect(storeOf('ollama').isThere(place)).toBe(false);
  const folder = join(models, 'manifests/registry.ollama.ai/library/llama3.2');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '3b'), '{}');
  expect(storeOf('ollama').isThere(place)).toBe(true);
});

/** What it answers to a pull; returns its URL. */
const pulling = async (lines: readonly string[]): Promise<string> => {
  const server = createServer((request, response) => {
    response.writeHead(request.url === '/api/pull' && request.method === 'POST' ? 200 : 404);
    response.end(lines.join('\n'));
  });
  await new Promise<void>((accept) => server.listen(0, '127.0.0.1', accept));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

test('a pull tells how far it is, and fails with the words of Ollama', async () => {
  const { fetchThrough } = storeOf('ollama');
  const signal = new AbortController().signal;
  const told: string[] = [];
  const fine = await pulling([
    '{"status":"pulling manifest"}',
    '{"status":"pulling abc","total":2000000000,"completed":500000000}',
    '{"status":"success"}',
  ]);
  await fetchThrough?.(fine, 'm', (text) => told.push(text), signal);
  expect(told).toEqual(['pulling manifest', '500 MB of 2.0 GB', 'success']);
  const wrong = await pulling(['{"error":"pull model manifest: file does not exist"}']);
  await expect(fetchThrough?.(wrong, 'm', () => {}, signal)).rejects.toThrow(UserError);
  await expect(fetchThrough?.(wrong, 'm', () => {}, signal)).rejects.toThrow('file does not exist');
});
