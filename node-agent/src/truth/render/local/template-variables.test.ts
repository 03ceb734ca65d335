import type { JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, test } from 'vitest';
import { type ChatInput, plainInput } from '../../../engines/chat-input.ts';
import { templateVariables } from './template-variables.ts';

const input: ChatInput = {
  partSeparator: ' ',
  keepsParts: true,
  fields: { user: [], '*': ['name', 'tool_calls'] },
  reasoning: ['reasoning', 'reasoning_content'],
  tools: { description: null, name: null, strict: false },
  choosesTools: true,
  tellsEffort: true,
};
const user = { role: 'user', content: 'Hello' };
const template = '{{ messages[0].content }}';
const variables = (body: JsonRecord, how = input, by = template) => templateVariables(body, how, by);
const messagesOf = (...messages: JsonRecord[]) => variables({ messages: [...messages, user] })?.messages;
const tools = [
  { type: 'function', function: { name: 'one', strict: true, more: 1 } },
  { type: 'function', function: { name: 'two', description: 'Two.' } },
];

describe('a template is given', () => {
  test('what is always there: none is not the same as nothing', () => {
    expect(variables({ messages: [user] })).toEqual({
      ...{ messages: [user], tools: null, documents: null, add_generation_prompt: true },
    });
  });

  test('messages with the fields that the engine keeps, and reasoning under one name', () => {
    expect(
      messagesOf(
        { role: 'user', content: 'a', name: 'ann' },
        { role: 'assistant', content: null, reasoning: 'r', name: 'bob', refusal: null, audio: 1 },
        { role: 'assistant', content: 'b', reasoning_content: 's', reasoning: null },
      ),
    ).toEqual([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: '', reasoning_content: 'r', name: 'bob' },
      { role: 'assistant', content: 'b', reasoning_content: 's' },
      user,
    ]);
  });

  test('arguments of calls as objects', () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{"a": [1]}' } };
    expect(messagesOf({ role: 'assistant', content: '', tool_calls: [call] })).toEqual([
      {
        ...{ role: 'assistant', content: '' },
        tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: { a: [1] } } }],
      },
      user,
    ]);
  });

  test('a list of texts as one, or as it is where the template goes through it', () => {
    const content = ['a', 'b'].map((text) => ({ type: 'text', text, cache_control: {} }));
    const body = { messages: [{ role: 'user', content }] };
    expect(variables(body)?.messages).toEqual([{ role: 'user', content: 'a b' }]);
    for (const loop of ["for part in message['content']", 'for c in msg.content', 'for x in m.content']) {
      expect(variables(body, input, `{% ${loop} %}{% endfor %}`)?.messages).toEqual([
        { role: 'user', content: ['a', 'b'].map((text) => ({ type: 'text', text })) },
      ]);
    }
    // Some releases take these words for a sign of it, others do not.
    expect(variables(body, input, 'the image')).toBeUndefined();
  });

  test('tools in the order and with the parts of the engine, and those that are chosen', () => {
    const [one, two] = [
      { type: 'function', function: { description: null, name: 'one', strict: true } },
      { type: 'function', function: { description: 'Two.', name: 'two', strict: false } },
    ];
    const chosen = (choice: unknown) => variables({ messages: [user], tools, tool_choice: choice })?.tools;
    expect(JSON.stringify(chosen('auto'))).toBe(JSON.stringify([one, two]));
    expect(chosen('none')).toBeNull();
    expect(chosen({ type: 'function', function: { name: 'two' } })).toEqual([two]);
  });

  test("the request's own options", () => {
    const body = { messages: [user], chat_template_kwargs: { thinking: true }, reasoning_effort: 'low' };
    expect(variables(body)).toMatchObject({ thinking: true, reasoning_effort: 'low' });
    expect(variables(body, { ...input, tellsEffort: false })).not.toHaveProperty('reasoning_effort');
  });
});

describe('nothing is known of', () => {
  const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] };
  const call = (text: unknown) => ({
    role: 'assistant',
    tool_calls: [{ id: 'c', function: { name: 'f', arguments: text } }],
  });
  test.each<[what: string, body: JsonRecord]>([
    ['no messages', { messages: [] }],
    ['an image', { messages: [image] }],
    ['a role that nobody has', { messages: [{ role: 'latest', content: '' }, user] }],
    ['what is no message', { messages: ['Hello'] }],
    ['an answer at the end: some go on with it', { messages: [user, { role: 'assistant', content: 'a' }] }],
    ['arguments that are no object', { messages: [call('[1]'), user] }],
    ['arguments that are no JSON', { messages: [call('{'), user] }],
    ['tools of another type', { messages: [user], tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    ['options that mean something else', { messages: [user], chat_template_kwargs: { tools: [] } }],
    ['options that are none', { messages: [user], chat_template_kwargs: 'x' }],
  ])('%s', (_, body) => {
    expect(variables(body)).toBeUndefined();
  });

  test.each<[what: string, body: JsonRecord]>([
    ['tools', { messages: [user], tools }],
    ['a message with more than a text', { messages: [{ ...user, name: 'ann' }] }],
    ['a list of texts', { messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }] }] }],
    ['a message without a text', { messages: [{ role: 'user', content: null }] }],
  ])('%s, where no profile says what the engine makes of it', (_, body) => {
    expect(variables(body, plainInput)).toBeUndefined();
    expect(variables({ messages: [user] }, plainInput)?.messages).toEqual([user]);
  });

  test('a choice among tools, where the engine is not known to follow it', () => {
    const body = { messages: [user], tools, tool_choice: 'none' };
    expect(variables(body, { ...input, choosesTools: false })).toBeUndefined();
  });
});
