/** The options of each engine's recorded release, and how that release is called; see help/README.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Release {
  readonly name: string;
  /** What it answers when it is asked which release it is. */
  readonly version: string;
  /** Below this directory. */
  readonly help: string;
}

const releases: Readonly<Record<string, Release>> = {
  vllm: { name: 'vLLM 0.32.0', version: '0.32.0', help: '../fakes/recordings/vllm/help-options.txt' },
  sglang: { name: 'SGLang 0.5.23', version: '0.5.23', help: 'help/sglang-0.5.23.txt' },
  'llama-cpp': { name: 'llama.cpp 0.5.0', version: 'version: 0.5.0', help: 'help/llama-cpp-0.5.0.txt' },
  trtllm: { name: 'TensorRT-LLM at 00209af', version: '1.1.0', help: 'help/trtllm-00209af.txt' },
  ollama: { name: 'Ollama', version: 'ollama version is 0.40.0', help: 'help/ollama.txt' },
};

export const releaseOf = (profile: string): Release => {
  const release = releases[profile];
  if (release === undefined) throw new Error(`no release of "${profile}" is recorded`);
  return release;
};

export const helpOf = (profile: string): string =>
  readFileSync(join(import.meta.dirname, releaseOf(profile).help), 'utf8');

/** Options among arguments that the release does not have, by whole words: `--port 80` and `--port=80` alike. */
export const unknownTo = (profile: string, argv: readonly string[]): readonly string[] => {
  const known = new Set(helpOf(profile).split('\n'));
  // What leads to the engine, such as Python's own -m, is none of its options.
  const own = argv[0] === '-m' ? argv.slice(2) : argv;
  return own
    .filter((word) => /^--?[a-z]/i.test(word))
    .map((word) => word.replace(/=.*$/s, ''))
    .filter((option) => !known.has(option));
};
