import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, test } from 'vitest';
import { plainInput } from '../../../engines/chat-input.ts';
import { engineProfiles } from '../../../engines/profiles/profiles.ts';
import { LocalPrompts } from './local-prompts.ts';
import { type ModelFiles, readModelFiles } from './model-files.ts';

const folders = join(import.meta.dirname, '../../../../testing/tokenizers');
const input = engineProfiles.get('sglang')?.chatInput ?? plainInput;

interface Recorded {
  readonly body: JsonRecord;
  readonly text: string;
  readonly ids: readonly number[];
}

describe.each(['chatml', 'spaces'])('with the vocabulary %s', (folder) => {
  const files = readModelFiles(join(folders, folder));
  const recorded = JSON.parse(readFileSync(join(folders, folder, 'recorded.json'), 'utf8')) as Recorded[];

  test.each(recorded)(
    'the prompt and its tokens are those of the libraries: $body',
    ({ body, text, ids }) => {
      const prompts = new LocalPrompts(files);
      expect(prompts.render(body, input)).toBe(text);
      expect(prompts.show(body, input)?.tokens.ids).toEqual(ids);
    },
  );

  test('they are the same when much of them was seen before', () => {
    const prompts = new LocalPrompts(files);
    for (let round = 0; round < 3; round += 1) {
      for (const { body, ids } of recorded) expect(prompts.show(body, input)?.tokens.ids).toEqual(ids);
    }
  });

  test('tokens end where their text does', () => {
    const prompts = new LocalPrompts(files);
    for (const { body, text } of recorded) {
      const shown = prompts.show(body, input);
      const [last = 0] = [...(shown?.tokens.ends ?? [])].slice(-1);
      expect(last).toBe(shown?.text.length);
      expect(shown?.text.trim()).toBe(text.trim());
    }
  });
});

const templated = (template: string, toolTemplate = template): ModelFiles => ({
  ...readModelFiles(join(folders, 'chatml')),
  ...{ template, toolTemplate },
});
const asks = { messages: [{ role: 'user', content: 'Hello' }] };

test('a template that refuses, or writes without end, shows nothing', () => {
  for (const template of [
    "{{ raise_exception('no') }}",
    `{% for i in range(3000) %}${'x'.repeat(1_000)}{% endfor %}`,
  ]) {
    expect(new LocalPrompts(templated(template)).show(asks, input)).toBeUndefined();
  }
});

test('a template of its own renders chats with tools, and special tokens are known', () => {
  const prompts = new LocalPrompts(templated('{{ bos_token }}plain', 'with tools'));
  expect(prompts.render(asks, input)).toBe('<|endoftext|>plain');
  const tools = [{ type: 'function', function: { name: 'f' } }];
  expect(prompts.render({ ...asks, tools }, input)).toBe('with tools');
  expect(prompts.render({ ...asks, tools, tool_choice: 'none' }, input)).toBe('<|endoftext|>plain');
});
