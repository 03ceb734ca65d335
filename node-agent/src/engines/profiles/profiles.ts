/** The table of all kinds of engines, by the names that the configuration uses. */
import { embedded } from './embedded.ts';
import { llamaCpp } from './llama-cpp.ts';
import { ollama } from './ollama.ts';
import { openai } from './openai.ts';
import type { EngineProfile } from './profile.ts';
import { sglang } from './sglang.ts';
import { trtllm } from './trtllm.ts';
import { vllm } from './vllm.ts';

export const engineProfiles: ReadonlyMap<string, EngineProfile> = new Map(
  [vllm, sglang, llamaCpp, trtllm, ollama, openai, embedded].map((profile) => [profile.name, profile]),
);
