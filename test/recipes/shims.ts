/** Programs to stand first on PATH: each engine's as a shim, and an nvidia-smi with GPUs of one's own. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const shim = join(import.meta.dirname, 'shim.ts');
const engines = ['vllm', 'python3', 'llama-server', 'trtllm-serve', 'ollama'] as const;

export interface ShimGpus {
  readonly count: number;
  readonly name: string;
  readonly mebibytes: number;
  readonly driver: string;
  readonly capability: string;
}

const writeProgram = (path: string, script: string): void => {
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
};

/** What `nvidia-smi --query-gpu` answers, and `-L`. */
const smi = ({ count, name, mebibytes, driver, capability }: ShimGpus): string => {
  const gpus = Array.from({ length: count }, (_, at) => at);
  const rows = gpus.map((at) => `echo '${at}, ${name}, ${mebibytes}, ${driver}, ${capability}'`);
  const list = gpus.map((at) => `echo 'GPU ${at}: ${name} (UUID: GPU-${at})'`);
  return `if [ "$1" = -L ]; then\n${list.join('\n')}\nelse\n${rows.join('\n')}\nfi`;
};

/** Returns the PATH with the shims first. */
export const installShims = (directory: string, gpus?: ShimGpus): string => {
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const name of engines)
    writeProgram(join(bin, name), `exec '${process.execPath}' '${shim}' ${name} "$@"`);
  if (gpus !== undefined) writeProgram(join(bin, 'nvidia-smi'), smi(gpus));
  return `${bin}:${process.env.PATH}`;
};
