import { ConfigError } from '@cognitora/protocol/config/config-error';
import { expect, test } from 'vitest';
import { gpusOf, parseRecipe } from './recipe.ts';
import { renderRecipe } from './render.ts';

const good = `summary = "a model on two GPUs"
source = "its documents"

[model]
name = "m"
store = "hub"
id = "owner/model"
download = "2GiB"

[host]
platforms = ["linux-x64"]

[release]
install = "pip install engine"

[[engine]]
profile = "vllm"
gpus = [0, 1]
`;

const parse = (text: string) => parseRecipe('m/e/t', 'recipe.toml', text);
const told = (text: string): string => {
  try {
    parse(text);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.message;
    throw thrown;
  }
  return 'nothing';
};
const engine = (more: string): string => `${good}\n[[engine]]\nprofile = "vllm"\n${more}\n`;

test('a recipe is read with its defaults', () => {
  const recipe = parse(good);
  expect(recipe.name).toBe('m/e/t');
  expect(recipe.top).toMatchObject({ tested: false, refuses: undefined });
  expect(recipe.model).toMatchObject({ id: 'owner/model', download: 2 * 2 ** 30, gated: false });
  expect(recipe.engines).toMatchObject([{ profile: 'vllm', role: 'both', replicas: 1, kv_offload: 'none' }]);
  expect(recipe.kvcached).toBeUndefined();
  expect(gpusOf(recipe)).toEqual([0, 1]);
});

test.each<[what: string, text: string, words: string | RegExp]>([
  [
    'a key that is none',
    good.replace('gpus =', 'gpu ='),
    'recipe.toml:18: there is no key "gpu" in [[engine]]; the nearest',
  ],
  ['one at the top', `sumary = "x"\n${good}`, 'recipe.toml:1: there is no key "sumary" at the top'],
  ['a short key at the top', `x = 1\n${good}`, /the nearest known one is \S*\w/],
  ['a table that is none', `${good}\n[hosts]\n`, 'the nearest known one is [host]'],
  [
    'a key in the wrong table',
    good.replace('name = "m"', 'name = "m"\nplatforms = []'),
    'it belongs in [host]',
  ],
  ['what is missing', good.replace('id = "owner/model"\n', ''), '"id" in [model] is missing'],
  [
    'an engine that nobody can install',
    good.replace('install = "pip install engine"\n', ''),
    '"install" in [release] is missing: how somebody installs vllm.',
  ],
  ['no engine', good.slice(0, good.indexOf('[[engine]]')), 'a recipe needs an engine: [[engine]]'],
  [
    'a platform that is none',
    good.replace('linux-x64', 'linux-mips'),
    'platforms must be a list of "linux-x64"',
  ],
  ['a store that is none', good.replace('"hub"', '"shop"'), 'store must be one of "hub", "file"'],
  ['a size without a unit', good.replace('"2GiB"', '2'), 'download must be a size such as "4GiB"'],
  [
    'a secret',
    good.replace('id = ', 'hf_token = "hf_x"\nid = '),
    'looks like a secret, and recipes hold none',
  ],
  ['a GPU twice in one engine', good.replace('[0, 1]', '[0, 0]'), 'gpus names GPU 0 twice'],
  ['a GPU of another engine', engine('gpus = [1]'), "GPU 1 is engine 0's already"],
  ['a gap between GPUs', good.replace('[0, 1]', '[0, 2]'), 'count from 0 without gaps, and 1 is left out'],
  ['half a pair', engine('gpus = [2]\nrole = "decode"'), 'role "decode" needs an engine with role "prefill"'],
  [
    'a pair that nobody refuses',
    engine('gpus = [2]\nrole = "decode"\n[[engine]]\nprofile = "vllm"\nrole = "prefill"'),
    'say so with refuses = "..."',
  ],
  [
    'a port where nobody listens',
    good.replace('gpus =', 'arguments = ["--store", "redis://127.0.0.1:6379"]\ngpus ='),
    'nothing of this recipe listens at port 6379. Add a [kvcached]',
  ],
  [
    "another port than kvcached's",
    `${engine('environment = { URL = "redis://127.0.0.1:7000" }')}\n[kvcached]\n`,
    'listens at port 7000. kvcached listens at 6379.',
  ],
  [
    'one port for two',
    `${good}\n[kvcached]\nport = 7000\nstatus_port = 7000\n`,
    'port and status_port must differ',
  ],
])('%s is refused with the fix', (_, text, words) => {
  expect(told(text)).toMatch(words);
});

test('all mistakes are told at once, each with its line', () => {
  const lines = told(good.replace('"hub"', '"shop"').replace('gpus', 'gpu').replace('linux-x64', 'x')).split(
    '\n',
  );
  expect(lines).toHaveLength(3);
  for (const line of lines) expect(line).toMatch(/^recipe\.toml:\d+: /);
});

test('a GPU is shared where the recipe says so', () => {
  const shared = engine('gpus = [1]').replace('["linux-x64"]', '["linux-x64"]\nshared_gpus = true');
  expect(gpusOf(parse(shared))).toEqual([0, 1]);
});

test('paths are those of the data directory, and an engine is told the public name or known by an alias', () => {
  const text = good
    .replace(
      'gpus = [0, 1]',
      'kv_offload = "hicache"\nkv_directory = true\narguments = ["--dir", "{data}/x"]',
    )
    .concat('\n[kvcached]\ndisk = "4GiB"\n');
  const { agent, kvcached } = renderRecipe(parse(text), '/d');
  expect(agent).toContain('served_name = "m"');
  expect(agent).toContain('kv_directory = "/d/kv/0"');
  expect(agent).toContain('arguments = [ "--dir", "/d/x" ]');
  expect(kvcached).toContain('directory = "/d/kv/0"\nmax_bytes = "4GiB"');
  const renamed = renderRecipe(
    parse(text.replace('download =', 'served_as = "other"\ndownload =')),
    '/d',
  ).agent;
  expect(renamed).toContain('m = "other"');
  expect(renamed).not.toContain('served_name');
});
