/** `cgn recipe up` with a shim in the engine's place: through download and load, to what fails, and to another edge. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { Hub } from '../../embedded-engine/src/testing/hub.ts';
import { cgn, cgnJson, startCgn } from '../cli/run-cgn.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { newDirectory, type UpAnswer } from './run-recipe.ts';
import { installShims } from './shims.ts';

const recipes = resolve(import.meta.dirname, '../../recipes');

/** A recipe of one's own: one of ours, on a host of any size; `more` stands at its end. */
const ownRecipe = (directory: string, more = '', of = 'qwen3-8b/vllm/1x24gb'): string => {
  const path = join(directory, 'recipe.toml');
  const text = readFileSync(join(recipes, of, 'recipe.toml'), 'utf8');
  const small = text.replace(/^memory = .*\n/m, '').replace(/^download = .*$/m, 'download = "2MiB"');
  writeFileSync(path, small + more);
  return path;
};

/** What takes a second or two takes that long on a machine with other work. */
const busyMsMax = 45_000;

const rtx4090 = {
  count: 1,
  name: 'NVIDIA RTX 4090',
  mebibytes: 24_564,
  driver: '580.82.07',
  capability: '8.9',
};

describe('a recipe whose engine is a shim', () => {
  const fixture = useCluster(() => ({ layout: 'one-object', regions: ['local'] }));
  const joining = async (): Promise<Record<string, string>> => {
    const made = await fixture.cluster.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    return { COGNITORA_JOIN_TOKEN: made.joinToken };
  };

  test('comes up through download and load; one that was killed is cleared away', async () => {
    const directory = newDirectory();
    const [port, ...kvPorts] = await Promise.all([freePort(), freePort(), freePort()]);
    const kvcached = `[kvcached]\ndisk = "1GiB"\nport = ${kvPorts[0]}\nstatus_port = ${kvPorts[1]}\n`;
    const recipe = ownRecipe(directory, kvcached);
    const cache = join(directory, 'hub');
    mkdirSync(cache);
    const environment = {
      PATH: installShims(directory, rtx4090),
      HF_HUB_CACHE: cache,
      SHIM_DOWNLOAD_TO: join(cache, 'models--Qwen--Qwen3-8B'),
      FAKE_LOAD_MS: '700',
    };
    const data = ['--data-dir', directory];
    const up = await cgn(['recipe', 'up', recipe, ...data, '--port', String(port)], environment);
    expect(up.status, up.errors).toBe(0);
    expect(up.errors).toMatch(/kvcached +serves/);
    expect((await fetch(`http://127.0.0.1:${kvPorts[1]}/healthz`)).status).toBe(200);
    expect(up.errors).toMatch(/r0 +downloading, \d+ kB of 2\.1 MB/);
    expect(up.errors).toMatch(/r0 +loading: fake vllm: loading qwen3-8b/);
    expect(up.errors).toMatch(/r0 +ready/);
    expect(up.out).toMatch(
      /Cognitora serves qwen3-8b \(.*ready after [\d.]+ s: check .*download [\d.]+, load [\d.]+/,
    );

    const { pid } = JSON.parse(readFileSync(join(directory, 'recipe.json'), 'utf8')) as { pid: number };
    process.kill(pid, 'SIGKILL');
    // Agent, engine and kvcached end by themselves; the edge has nobody to tell it.
    await until('all but the edge to be gone', () => leftoversOf(directory).length <= 1, busyMsMax);
    // What is up is ended by its name, also once its file is gone.
    rmSync(recipe);
    const down = await cgn(['recipe', 'down', recipe, ...data]);
    expect([down.status, down.out]).toEqual([0, expect.stringContaining('had ended without word')]);
    expect(leftoversOf(directory)).toEqual([]);
  });

  test('whose engine cannot run says what it wrote, and leaves nothing', async () => {
    const directory = newDirectory();
    const recipe = ownRecipe(directory);
    const environment = {
      PATH: installShims(directory, rtx4090),
      FAKE_FAILURE: 'crash',
      ...(await joining()),
    };
    const argv = ['recipe', 'up', recipe, '--data-dir', directory, '--edge', fixture.cluster.url];
    const up = await cgn(argv, environment);
    expect(up.status).toBe(1);
    expect(up.errors).toMatch(
      /The engine r0 could not be kept running:\n.*CUDA error: an illegal memory access/s,
    );
    expect(leftoversOf(directory)).toEqual([]);
    expect(existsSync(join(directory, 'recipe.json'))).toBe(false);
  });

  test('joins an edge that runs; its file of the hub is fetched and verified before its engine starts', async () => {
    const hub = await new Hub(Buffer.from('GGUF and weights')).start();
    onTestFinished(() => hub.stop());
    const { cluster } = fixture;
    const directory = newDirectory();
    const recipe = ownRecipe(directory, '', 'llama-3.1-8b/llama-cpp/cpu');
    const withoutToken = { PATH: installShims(directory), HF_ENDPOINT: hub.endpoint };
    const data = ['--data-dir', directory];
    const argv = ['recipe', 'up', recipe, ...data, '--edge', cluster.url];
    const without = await cgn(argv, withoutToken);
    expect([without.status, without.out]).toEqual([
      1,
      expect.stringContaining('FAILED  join: this host has not joined'),
    ]);
    expect(without.out).toContain(
      '-> Make one there with "cgn keys join", and give it in COGNITORA_JOIN_TOKEN.\n',
    );
    const environment = { ...withoutToken, ...(await joining()) };
    hub.digest = '0'.repeat(64);
    const wrong = await cgn(argv, environment);
    expect([wrong.status, wrong.errors]).toEqual([
      1,
      expect.stringMatching(/could not be fetched: .* arrived damaged/s),
    ]);
    hub.digest = undefined;
    const up = await cgnJson<UpAnswer>(argv, environment);
    expect([up.url, up.apiKey]).toEqual([cluster.url, undefined]);
    expect(up.stagesMs.download).toBeGreaterThan(0);
    const file = 'Meta-Llama-3.1-8B-Instruct-GGUF/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf';
    expect(readFileSync(join(directory, 'models/hf/bartowski', file), 'utf8')).toBe('GGUF and weights');
    const answer = await cluster.sdk().chat.completions.create({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 4,
    });
    expect(answer.choices[0]?.message.content).toBeTruthy();
    expect((await cgnJson<{ wasUp: boolean }>(['recipe', 'down', recipe, ...data])).wasUp).toBe(true);
    expect(leftoversOf(directory)).toEqual([]);
  });

  test('that is interrupted on its way up leaves nothing', async () => {
    const directory = newDirectory();
    const port = String(await freePort());
    const environment = { PATH: installShims(directory, rtx4090), FAKE_FAILURE: 'hang at start' };
    const argv = ['recipe', 'up', ownRecipe(directory), '--data-dir', directory, '--port', port];
    const up = startCgn(argv, environment);
    await until('the engine to load', () => /r0 +loading/.test(up.said.errors), busyMsMax);
    up.signal('SIGINT');
    expect(await up.exited).toBe(1);
    expect(up.said.errors).toContain('Stopped; nothing of it runs.');
    expect(leftoversOf(directory)).toEqual([]);
    expect(existsSync(join(directory, 'recipe.json'))).toBe(false);
  });
});
