/**
 * Every key of a recipe.toml, once: where it may stand, what it may be and what it is for. The parser is made from
 * these tables; nothing else lists a key. What several keys have to do with each other is `recipe.ts`'s.
 */
import * as kinds from '@cognitora/protocol/config/kinds';
import { textCharsMax } from '@cognitora/protocol/config/limits';
import { type Keys, key, type Schema } from '@cognitora/protocol/config/schema';
import { gpusPerNodeMax, replicasPerNodeMax } from '@cognitora/protocol/limits';
import { replicaRoles } from '@cognitora/protocol/link';
import { storeNames } from './stores/stores.ts';

/** As the agent's own: its help lists about so many. */
const argumentsMax = 512;
const variablesMax = 256;
/** Engines of one recipe: more is no recipe that somebody can read. */
export const enginesMax = 16;

/** `${process.platform}-${process.arch}` of the hosts that the product runs on. */
export const platforms = ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64'] as const;
export type Platform = (typeof platforms)[number];

const gibibyte = 2 ** 30;

/** Numbers with dots between, such as a driver's or a release's. */
const dotted = (example: string): kinds.Kind<string> => ({
  ...kinds.text(`a version such as "${example}"`),
  read: (value) => (typeof value === 'string' && /^\d+(?:\.\d+){0,3}$/.test(value) ? value : undefined),
});

const size = kinds.size({ bytesMin: 2 ** 20 });
const port = kinds.wholeNumber(1, 65_535);

const texts = kinds.table(
  (_, value) => (typeof value === 'string' && value.length <= textCharsMax ? value : undefined),
  variablesMax,
  `a table of at most ${variablesMax} variables, each a text`,
);

export const topKeys = {
  summary: key(kinds.text('one line'))({
    doc: 'What it is, in one line.',
    example: '"Llama 3.1 8B on one A100"',
    isRequired: true,
  }),
  source: key(kinds.text('where the flags are from'))({
    doc: 'The documents and releases that names, sizes and flags are from.',
    example: '"docs of vLLM 0.32.0"',
    isRequired: true,
  }),
  refuses: key(kinds.text('a sentence'))({
    doc: 'Why it cannot be brought up today.',
    says: 'it can',
    example: '"Prefill and decode are not split yet."',
  }),
  tested: key(kinds.flag)({
    doc: 'Whether it was ever brought up with the real engine.',
    example: 'true',
    fallback: () => false,
  }),
} as const satisfies Keys;

export const modelKeys = {
  name: key(kinds.name)({
    doc: 'What clients call the model.',
    example: '"llama-3.1-8b"',
    isRequired: true,
  }),
  store: key(kinds.choice(storeNames))({
    doc: 'Where the model comes from.',
    example: '"hub"',
    isRequired: true,
  }),
  id: key(kinds.text('what the store calls it'))({
    doc: 'What the store calls it.',
    example: '"Qwen/Qwen3-8B"',
    isRequired: true,
  }),
  served_as: key(kinds.name)({
    doc: 'What the engine itself calls it, where that cannot be chosen.',
    says: 'the engine is told the name',
    example: '"llama3.2:3b"',
  }),
  download: key(size)({
    doc: 'How much is fetched, once.',
    says: 'nothing',
    example: '"16GiB"',
  }),
  gated: key(kinds.flag)({
    doc: "Whether the hub wants its licence accepted and a user's token.",
    example: 'true',
    fallback: () => false,
  }),
} as const satisfies Keys;

export const hostKeys = {
  platforms: key(
    kinds.list(
      kinds.choice(platforms),
      platforms.length,
      `a list of ${platforms.map(kinds.quoted).join(', ')}`,
    ),
  )({
    doc: 'Where the engine runs.',
    example: '["linux-x64"]',
    isRequired: true,
  }),
  memory: key(size)({ doc: "The host's memory at least.", says: 'as much as there is', example: '"64GiB"' }),
  gpu_memory: key(size)({ doc: 'The memory of each GPU at least.', says: 'any', example: '"39GiB"' }),
  gpu_capability: key(dotted('8.0'))({
    doc: "NVIDIA's compute capability at least.",
    says: 'any',
    example: '"8.0"',
  }),
  driver: key(dotted('580'))({ doc: "NVIDIA's driver at least.", says: 'any', example: '"580"' }),
  shared_gpus: key(kinds.flag)({
    doc: 'Lets several engines name one GPU.',
    example: 'true',
    fallback: () => false,
  }),
} as const satisfies Keys;

export const releaseKeys = {
  at_least: key(dotted('0.32.0'))({
    doc: "The engine's release that the flags were held against, or the oldest one that has them.",
    says: 'any',
    example: '"0.32.0"',
  }),
  install: key(kinds.text('how the engine is installed'))({
    doc: 'How somebody installs it.',
    says: 'it comes with cgn',
    example: '"uv pip install vllm==0.32.0 --torch-backend=auto"',
  }),
} as const satisfies Keys;

export const kvcachedKeys = {
  ram: key(kinds.size({ bytesMin: gibibyte }))({
    doc: 'Memory of kvcached.',
    example: '"16GiB"',
    fallback: () => gibibyte,
  }),
  disk: key(kinds.size({ bytesMin: gibibyte }))({
    doc: 'Disk of kvcached.',
    example: '"64GiB"',
    fallback: () => 16 * gibibyte,
  }),
  port: key(port)({
    doc: 'Where Redis clients connect, on loopback.',
    example: '6379',
    fallback: () => 6_379,
  }),
  status_port: key(port)({ doc: 'Where /metrics is, on loopback.', example: '6380', fallback: () => 6_380 }),
} as const satisfies Keys;

const gpuNumbers = kinds.list(
  kinds.wholeNumber(0, gpusPerNodeMax - 1),
  gpusPerNodeMax,
  `a list of GPU numbers from 0 to ${gpusPerNodeMax - 1}`,
);

/** Of an entry of `[[engine]]`. Profile and kv_offload are the agent's to judge: it knows which there are. */
export const engineKeys = {
  profile: key(kinds.text('the name of an engine'))({
    doc: 'Which engine it is, as in docs/agent-config.md.',
    example: '"vllm"',
    isRequired: true,
  }),
  name: key(kinds.name)({
    doc: "The replica's name on its host.",
    says: 'r0, r1 and so on',
    example: '"prefill"',
  }),
  role: key(kinds.choice(replicaRoles))({ doc: 'What it does.', example: '"both"', fallback: () => 'both' }),
  replicas: key(kinds.wholeNumber(1, replicasPerNodeMax))({
    doc: 'How many of it.',
    example: '2',
    fallback: () => 1,
  }),
  gpus: key(gpuNumbers)({ doc: 'The GPUs of all its replicas.', example: '[0]', fallback: () => [] }),
  kv_offload: key(kinds.text('a kv_offload of the agent'))({
    doc: 'Where it keeps KV that its memory cannot hold, as in docs/agent-config.md.',
    example: '"lmcache"',
    fallback: () => 'none',
  }),
  kv_directory: key(kinds.flag)({
    doc: 'Gives it a directory for that KV; a kvcached beside it then keeps the directory within its disk.',
    example: 'true',
    fallback: () => false,
  }),
  arguments: key(kinds.list(kinds.text('a text'), argumentsMax, 'a list of texts'))({
    doc: 'More arguments; {data} is the data directory.',
    example: '["--max-model-len", "16384"]',
    fallback: () => [],
  }),
  environment: key(texts)({
    doc: 'Variables for it; {data} is the data directory.',
    example: '{ OMP_NUM_THREADS = "4" }',
    fallback: () => new Map(),
  }),
} as const satisfies Keys;

export const topSection = { header: '', table: '', keys: topKeys };
export const modelSection = { header: '[model]', table: 'model', keys: modelKeys };
export const hostSection = { header: '[host]', table: 'host', keys: hostKeys };
export const releaseSection = { header: '[release]', table: 'release', keys: releaseKeys };
export const kvcachedSection = { header: '[kvcached]', table: 'kvcached', keys: kvcachedKeys };
export const engineSection = { header: '[[engine]]', table: 'engine', keys: engineKeys };

export const recipeSchema: Schema = {
  sections: [topSection, modelSection, hostSection, releaseSection, kvcachedSection, engineSection],
  documentation: 'recipes/README.md',
  // Never said: `recipe.ts` refuses secrets before, since a recipe names none of their files.
  secretKey: 'environment',
};
