import { expect, test } from 'vitest';
import { engineWords } from './engine-words.ts';

test.each([
  ['a line for people', 'CUDA error: out of memory', 'CUDA error: out of memory'],
  [
    'of an event its message',
    '{"event":"load","message":"loading /m.gguf","path":"/m.gguf"}',
    'loading /m.gguf',
  ],
  ['nothing of an event without one', '{"event":"listening","url":"http://127.0.0.1:1"}', undefined],
  [
    'JSON of another program, as it is',
    '{"level":"error","msg":"no room"}',
    '{"level":"error","msg":"no room"}',
  ],
])('%s is told', (_, line, words) => {
  expect(engineWords(line)).toBe(words);
});
