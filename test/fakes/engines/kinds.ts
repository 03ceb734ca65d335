/** All fakes, by the names that the agent's configuration uses for their engines. */
import type { Kind } from './fake.ts';
import { llamaCpp } from './llama-cpp.ts';
import { ollama } from './ollama.ts';
import { openai } from './openai.ts';
import { sglang } from './sglang.ts';
import { trtllm } from './trtllm.ts';
import { vllm } from './vllm.ts';

export const kinds: ReadonlyMap<string, Kind> = new Map(
  [vllm, sglang, llamaCpp, trtllm, ollama, openai].map((kind) => [kind.name, kind]),
);
