import { describe, expect, it } from 'vitest';
import { ApiError } from '../openai/errors.ts';
import type { ChatMessage } from '../openai/messages.ts';
import { createChatTemplate } from './chat-template.ts';

const specials = { bos: '<s>', eos: '</s>' };
const loop = (body: string): string => `{%- for message in messages -%}${body}{%- endfor -%}`;
const content = "{{ '[' + message['role'] + '] ' + message['content'] + '\\n' }}";
const naming =
  "{% if message['name'] is defined %}{{ message['name'] | upper }}: {% endif %}{{ message['content'] + '|' }}";
const hello: readonly ChatMessage[] = [{ role: 'user', content: 'Hello' }];
const named: readonly ChatMessage[] = [...hello, { role: 'user', content: 'Hi', name: 'ann' }];

const refusal = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, ...error.toBody().error };
  }
  return undefined;
};

describe('a chat template', () => {
  it('renders, and its refusals are the messages’ fault', () => {
    const render = createChatTemplate(loop(content), specials);
    expect(render(hello, true)).toBe('[user] Hello\n');
    const strict = createChatTemplate("{{ raise_exception('roles must alternate') }}", specials);
    expect(refusal(() => strict(hello, true))).toMatchObject({ status: 400, param: 'messages' });
  });

  it('that tells names is given them', () => {
    const render = createChatTemplate(loop(naming), specials);
    expect(render(named, true)).toBe('Hello|ANN: Hi|');
  });

  it.each([
    ['that leaves names out', loop(content)],
    ['that leaves out some', loop(`{% if loop.first %}${naming}{% else %}${content}{% endif %}`)],
    ['that is none', undefined],
  ])('%s refuses them by name', (_, source) => {
    const render = createChatTemplate(source, specials);
    expect(render(hello, true)).toContain('Hello');
    expect(refusal(() => render(named, true))).toMatchObject({
      status: 400,
      code: 'unsupported',
      param: 'messages',
      message: expect.stringContaining('"messages[1].name"'),
    });
  });
});
