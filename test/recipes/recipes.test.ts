/** Every recipe: parsed, its files equal to what is made of it, its argv in a golden file and known to its release. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadRecipe, recipeNames, recipesDirectory } from '../../cli/src/recipe/catalogue.ts';
import { documentsOf, recipesDocument } from '../../cli/src/recipe/documents.ts';
import { gpusOf } from '../../cli/src/recipe/recipe.ts';
import { renderRecipe, serviceDirectory } from '../../cli/src/recipe/render.ts';
import { help as embeddedHelp } from '../../embedded-engine/src/arguments.ts';
import { parseOptions } from '../../kvcache/src/config/parse.ts';
import { parseConfig } from '../../node-agent/src/config/parse.ts';
import { unknownOptions } from '../../node-agent/src/doctor/engine-checks.ts';
import { knownProfiles } from '../../node-agent/src/engines/known-profiles.ts';
import { type EnginePlan, plansOf } from '../../node-agent/src/plan/plans.ts';
import { unknownTo } from './releases.ts';

const root = join(import.meta.dirname, '../..');
const names = recipeNames();
const edgePort = 8_080;

const plansFor = (name: string): readonly EnginePlan[] => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'agent.toml');
  writeFileSync(path, renderRecipe(loadRecipe(name), serviceDirectory).agent);
  const argv = [
    '--config',
    path,
    '--edge',
    'https://edge.example',
    '--data-dir',
    `${serviceDirectory}/agent`,
  ];
  const parsed = parseConfig(argv, {}, { profiles: knownProfiles, hostsOwn: '/dev/null' });
  if (parsed === 'help') throw new Error('help');
  return plansOf(parsed.config).engines;
};

test('there are these recipes', () => {
  expect(names).toEqual([
    'deepseek-v4-flash/sglang/4xh200',
    'deepseek-v4-flash/vllm/4xh200',
    'llama-3.1-8b/llama-cpp/cpu',
    'llama-3.1-8b/sglang-hicache/1xa100',
    'llama-3.1-8b/sglang/1xa100',
    'llama-3.1-8b/tensorrt-llm/1xa100',
    'llama-3.1-8b/vllm-lmcache/1xa100',
    'llama-3.1-8b/vllm/1xa100',
    'llama-3.1-8b/vllm/1xa100-disaggregated',
    'llama-3.2-3b/ollama/macos',
    'llama-3.3-70b-fp8/vllm/tp4',
    'qwen3-8b/sglang/1x24gb',
    'qwen3-8b/vllm/1x24gb',
    'tiny/embedded/cpu',
  ]);
});

test('a recipe of one’s own that is a pipe is refused: it would keep us waiting', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const pipe = join(directory, 'recipe.toml');
  execFileSync('mkfifo', [pipe]);
  expect(() => loadRecipe(pipe)).toThrow(`${pipe} is no file.`);
});

test.each([
  ['x/nothing.toml', /^There is no file \/.*\/x\/nothing\.toml\.$/],
  ['llama-3.1-8b/vlm/1xa100', 'The nearest is llama-3.1-8b/vllm/1xa100;'],
  ['tiny', 'The nearest is tiny/embedded/cpu;'],
  ['tyni/embeded/cpus', 'The nearest is tiny/embedded/cpu;'],
  ['nothing/at/all', /^There is no recipe "nothing\/at\/all"\. "cgn recipe ls" shows all\.$/],
])('the name %s, which is none, is refused with what may be meant', (name, words) => {
  expect(() => loadRecipe(name)).toThrow(words);
});

test.each(names)(
  '%s: the files beside it are those that are made of it (node scripts/recipe-files.ts)',
  (name) => {
    const folder = join(recipesDirectory, name);
    const documents = documentsOf(loadRecipe(name));
    expect(readdirSync(folder).sort()).toEqual(['recipe.toml', ...documents.map((each) => each.name)].sort());
    for (const { name: file, text, isProgram } of documents) {
      const path = join(folder, file);
      expect(readFileSync(path, 'utf8'), file).toBe(text);
      expect((statSync(path).mode & 0o111) !== 0, `${file} is executable`).toBe(isProgram);
      if (isProgram) expect(text.trimEnd().split('\n')).toHaveLength(3);
    }
  },
);

test('recipes/README.md is what the schema says: node scripts/recipe-files.ts', () => {
  expect(readFileSync(join(recipesDirectory, 'README.md'), 'utf8')).toBe(recipesDocument());
});

test('git keeps the scripts executable', () => {
  const kept = execFileSync('git', ['ls-files', '-s', 'recipes'], { cwd: root, encoding: 'utf8' });
  const scripts = kept.split('\n').filter((line) => line.endsWith('.sh'));
  expect(scripts.length).toBe(2 * names.length);
  expect(scripts.filter((line) => !line.startsWith('100755'))).toEqual([]);
});

test.each(names)('%s: kvcached takes its file, if there is one', (name) => {
  const { kvcached } = loadRecipe(name);
  const path = join(recipesDirectory, name, 'kvcached.toml');
  if (kvcached === undefined) return;
  const parsed = parseOptions(['--config', path], {}, '/dev/null');
  if (parsed === 'help') throw new Error('help');
  expect(parsed.options.resp).toEqual([{ host: '127.0.0.1', port: kvcached.port }]);
  expect(parsed.options.ramBytesMax).toBe(kvcached.ram);
});

/** As a person would type it, an option with its value on each line. */
const typed = ({ name, program, argv, environment, files }: EnginePlan): string => {
  const shown = (word: string): string => {
    if (word === process.execPath) return 'node';
    return word.startsWith(root) ? relative(root, word) : word;
  };
  const lines = Object.entries(environment).map(([variable, value]) => `${variable}=${value}`);
  lines.push(shown(program));
  for (const word of argv) {
    const text = JSON.stringify(shown(word));
    if (word.startsWith('-')) lines.push(`  ${text}`);
    else lines.push(`${lines.pop()} ${text}`);
  }
  const written = Object.entries(files).map(
    ([path, text]) => `${path}:\n${text.replaceAll(/^/gm, '  ').trimEnd()}`,
  );
  return [`# ${name}`, ...lines, ...written].join('\n');
};

test.each(names)('%s: its engines are started as its golden file says', async (name) => {
  const text = plansFor(name).map(typed).join('\n\n');
  await expect(`${text}\n`).toMatchFileSnapshot(`golden/${name.replaceAll('/', '.')}.txt`);
});

test.each(names)('%s: the recorded release knows every option', (name) => {
  for (const { profile, argv } of plansFor(name)) {
    const unknown =
      profile === 'embedded' ? unknownOptions(argv.slice(1), embeddedHelp) : unknownTo(profile, argv);
    expect(unknown, profile).toEqual([]);
  }
});

test('an option that a release does not have is seen', () => {
  expect(unknownTo('vllm', ['serve', 'm', '--port', '1', '--no-such-option=3', '--tensor-parallel'])).toEqual(
    ['--no-such-option', '--tensor-parallel'],
  );
  expect(unknownTo('sglang', ['-m', 'sglang.launch_server', '--port', '1', '--max-model-len', '2'])).toEqual([
    '--max-model-len',
  ]);
});

test.each(names)('%s: ports, GPUs and roles fit together', (name) => {
  const recipe = loadRecipe(name);
  const plans = plansFor(name);
  const replicas = recipe.engines.reduce((sum, engine) => sum + engine.replicas, 0);
  expect(plans).toHaveLength(replicas);
  const { kvcached } = recipe;
  const own = kvcached === undefined ? [edgePort] : [edgePort, kvcached.port, kvcached.status_port];
  const ports = plans.flatMap(({ ports: { http, transfer } }) => [http, transfer]);
  expect(new Set([...own, ...ports]).size).toBe(own.length + ports.length);
  expect([...new Set(plans.flatMap(({ gpus }) => gpus))].sort()).toEqual(gpusOf(recipe));
  for (const { gpus, tensorParallel, environment } of plans) {
    expect(tensorParallel).toBe(Math.max(1, gpus.length));
    expect(environment.CUDA_VISIBLE_DEVICES).toBe(gpus.length === 0 ? undefined : gpus.join(','));
  }
  const roles = plans.map(({ role }) => role);
  expect(roles.every((role) => role === 'both') || recipe.top.refuses !== undefined).toBe(true);
  // What needs no GPU asks for none, and what needs some says how large.
  expect(recipe.host.gpu_memory !== undefined).toBe(gpusOf(recipe).length > 0);
});
