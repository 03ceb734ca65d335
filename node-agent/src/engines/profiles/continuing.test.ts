import { expect, test } from 'vitest';
import { engineProfiles } from './profiles.ts';

const membersOf = (members: string): unknown => JSON.parse(`{${members}}`);
const flags = { continue_final_message: true, add_generation_prompt: false };

test('only llama.cpp’s server is known to tell of its prefill', () => {
  const telling = [...engineProfiles.values()].filter(({ reportsProgress }) => reportsProgress);
  expect(telling.map(({ name }) => name)).toEqual(['llama-cpp']);
});

test('engines go on from a part of an answer so, or not at all', () => {
  const ways = [...engineProfiles.values()].map(({ name, continues }) => [
    name,
    Object.fromEntries([...continues].map(([path, members]) => [path, membersOf(members)])),
  ]);
  const both = { '/v1/chat/completions': flags, '/v1/completions': {} };
  expect(Object.fromEntries(ways)).toEqual({
    vllm: both,
    sglang: { ...both, '/v1/chat/completions': { continue_final_message: true } },
    'llama-cpp': both,
    trtllm: { '/v1/completions': {} },
    ollama: {},
    openai: { '/v1/completions': {} },
    embedded: both,
  });
});
