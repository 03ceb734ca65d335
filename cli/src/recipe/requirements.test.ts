import { expect, test } from 'vitest';
import type { Finding } from '../commands/doctor.ts';
import { gpuIn } from './facts.ts';
import { parseRecipe } from './recipe.ts';
import { compareVersions, type Gpu, type HostFacts, requirementsOf, versionIn } from './requirements.ts';

const gibibyte = 2 ** 30;
const recipe = parseRecipe(
  'm/e/t',
  'recipe.toml',
  `summary = "s"
source = "s"
[model]
name = "m"
store = "hub"
id = "owner/model"
download = "100GiB"
gated = true
[host]
platforms = ["linux-x64"]
memory = "64GiB"
gpu_memory = "39GiB"
gpu_capability = "8.9"
driver = "580"
[release]
at_least = "0.32.0"
install = "pip install vllm"
[kvcached]
disk = "64GiB"
[[engine]]
profile = "vllm"
gpus = [0, 1]
`,
);

const gpu = (index: number, more: Partial<Gpu> = {}): Gpu => ({
  ...{ index, name: 'NVIDIA L40S', memoryBytes: 45 * gibibyte, driver: '580.82.07', capability: '8.9' },
  ...more,
});
const good: HostFacts = {
  platform: 'linux-x64',
  memoryBytes: 64 * gibibyte,
  gpus: [gpu(0), gpu(1), gpu(2, { memoryBytes: 1 })],
  model: { path: '/cache/m', isThere: false, freeBytes: 120 * gibibyte },
  data: { directory: '/data', freeBytes: 65 * gibibyte },
  takenPorts: [],
  hasHubToken: true,
  releases: [{ engine: 'r0', text: 'INFO 12:00 [init.py:1] loading\n0.32.1' }],
  heldBy: undefined,
};
const doctor: readonly Finding[] = [
  { what: 'node', outcome: 'ok', says: '24' },
  { what: 'GPUs', outcome: 'failed', says: 'nvidia-smi is not found', fix: 'x' },
  { what: 'edge', outcome: 'failed', says: 'does not answer', fix: 'x' },
  { what: 'join', outcome: 'failed', says: 'has not joined', fix: 'x' },
  { what: 'engine r0: program', outcome: 'ok', says: '/bin/vllm' },
];

const failed = (
  facts: Partial<HostFacts>,
  more: readonly Finding[] = doctor,
  edgePort: number | undefined = 8_080,
) =>
  requirementsOf({ recipe, edgePort }, { ...good, ...facts }, more).filter(
    ({ outcome }) => outcome === 'failed',
  );

test('a host that has all is told so', () => {
  expect(failed({})).toEqual([]);
  const all = requirementsOf({ recipe, edgePort: 8_080 }, good, doctor).map(({ what }) => what);
  expect(all).toEqual(
    expect.arrayContaining(['platform', 'memory', 'GPU 0', 'GPU 1', 'disk', 'port 6379', 'port 8080']),
  );
});

test.each<[what: string, facts: Partial<HostFacts>, missing: string, fix: string]>([
  ['platform', { platform: 'darwin-arm64' }, 'platform', 'Take a host that is linux-x64'],
  ['memory', { memoryBytes: 64 * gibibyte - 1 }, 'memory', 'more memory'],
  ['driver', { gpus: [gpu(0, { driver: '575.9' }), gpu(1)] }, 'GPU 0: driver', 'driver 580 or newer'],
  ['a GPU', { gpus: [gpu(0)] }, 'GPUs', 'Take a host with more GPUs'],
  ['GPU memory', { gpus: [gpu(0), gpu(1, { memoryBytes: 1 })] }, 'GPU 1: memory', 'more memory'],
  ['capability', { gpus: [gpu(0, { capability: '8.0' }), gpu(1)] }, 'GPU 0: capability', 'newer GPU'],
  ['any GPU', { gpus: 'nvidia-smi is not found' }, 'GPUs', "Install NVIDIA's driver 580"],
  ['disk', { model: { ...good.model, freeBytes: 104 * gibibyte } }, 'disk', 'Make room'],
  ['disk for kvcached', { data: { directory: '/data', freeBytes: 1 } }, 'disk of kvcached', '--data-dir'],
  ['a token', { hasHubToken: false }, 'hub token', 'export HF_TOKEN'],
  ['a port', { takenPorts: [8_080] }, 'port 8080', '--port'],
  ['a port of kvcached', { takenPorts: [6_379] }, 'port 6379', 'recipe.toml'],
  ['release', { releases: [{ engine: 'r0', text: '0.31.9' }] }, 'engine r0: release', 'pip install vllm'],
  ['a free directory', { heldBy: 'x is up' }, 'data directory', 'End it first'],
])('what lacks %s is told that alone, with the fix', (_, facts, missing, fix) => {
  const found = failed(facts);
  expect(found.map(({ what }) => what)).toEqual([missing]);
  expect(found[0]?.fix).toContain(fix);
});

test('what is there and what is needed is told in one unit, and too little never reads as enough', () => {
  const little = failed({
    memoryBytes: 64 * gibibyte - 1,
    gpus: [gpu(0), gpu(1, { memoryBytes: 39 * gibibyte - 1 })],
    model: { ...good.model, freeBytes: 105 * gibibyte - 1 },
    data: { directory: '/data', freeBytes: 64 * gibibyte - 1 },
  });
  expect(little.map(({ says }) => says)).toEqual([
    'this host has 63.9 GiB, and 64 GiB are needed',
    'NVIDIA L40S has 38.9 GiB, and 39 GiB are needed',
    '104.9 GiB are free at /cache/m, and owner/model needs 105 GiB there',
    '63.9 GiB are free at /data, and kvcached may take 64 GiB',
  ]);
});

test('who is up already is the one thing that is missing, whatever that one holds', () => {
  const agent: Finding = { what: 'agent', outcome: 'failed', says: 'one runs already', fix: 'End it' };
  const found = failed({ heldBy: 'x is up', takenPorts: [8_080, 6_379] }, [agent]);
  expect(found.map(({ what, says }) => [what, says])).toEqual([['data directory', 'x is up']]);
  expect(failed({}, [agent]).map(({ what }) => what)).toEqual(['agent']);
});

test('a model that is here needs neither disk nor token', () => {
  expect(failed({ model: { ...good.model, isThere: true, freeBytes: 0 }, hasHubToken: false })).toEqual([]);
});

test('where another edge is joined, its findings count, and our port does not', () => {
  const found = requirementsOf({ recipe, edgePort: undefined }, { ...good, takenPorts: [8_080] }, doctor);
  const missing = found.filter(({ outcome }) => outcome === 'failed').map(({ what }) => what);
  expect(missing).toEqual(['edge', 'join']);
  // There is no option for a file with one.
  expect(found.find(({ what }) => what === 'join')?.fix).toBe(
    'Make one there with "cgn keys join", and give it in COGNITORA_JOIN_TOKEN.',
  );
});

test('an engine that is not there is installed as the recipe says', () => {
  const missing: Finding = {
    what: 'engine r0: program',
    outcome: 'failed',
    says: 'none',
    fix: 'Install the engine',
  };
  expect(failed({ releases: [{ engine: 'r0', text: undefined }] }, [missing])).toEqual([
    { ...missing, fix: 'Install it where PATH finds it: pip install vllm' },
  ]);
});

test('a program that does not say its release is a note, not a failure', () => {
  const all = requirementsOf(
    { recipe, edgePort: 1 },
    { ...good, releases: [{ engine: 'r0', text: '' }] },
    doctor,
  );
  expect(all.find(({ what }) => what === 'engine r0: release')?.outcome).toBe('note');
});

test.each<[one: string, other: string, sign: number]>([
  ['580', '580', 0],
  ['580.82.07', '580', 1],
  ['9.1', '10.0', -1],
  ['0.5.23', '0.5.3', 1],
  ['1', '1.0.1', -1],
])('%s compared with %s', (one, other, sign) => {
  expect(Math.sign(compareVersions(one, other))).toBe(sign);
});

test.each([
  ['0.32.0', '0.32.0'],
  ['ollama version is 0.40.0', '0.40.0'],
  ['version: 9021 (abc1234)', '9021'],
  ['no number', undefined],
])('the release in %j', (text, version) => {
  expect(versionIn(text)).toBe(version);
});

test('a line of nvidia-smi is a GPU', () => {
  expect(gpuIn('1, NVIDIA H200, 143771, 580.82.07, 9.0')).toEqual({
    ...{
      index: 1,
      name: 'NVIDIA H200',
      memoryBytes: 143_771 * 2 ** 20,
      driver: '580.82.07',
      capability: '9.0',
    },
  });
  expect(gpuIn('No devices were found')).toBeUndefined();
});
