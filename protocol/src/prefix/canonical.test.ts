import fc from 'fast-check';
import { expect, test } from 'vitest';
import { text } from '../../testing/bytes-in-pieces.ts';
import { jsonValue } from '../../testing/json-text.ts';
import { inferenceEndpoints } from '../openai.ts';
import type { JsonRecord } from '../shape.ts';
import { canonicalBufferBytes, canonicalBytes } from './canonical.ts';
import type { PromptRequest } from './layout.ts';
import { type ProfileFacts, plainProfile, profileOf } from './profile.ts';
import { caller, messages } from './testing/conversations.ts';
import { someFacts } from './testing/some-facts.ts';

const chat = (body: JsonRecord): PromptRequest => ({ path: '/v1/chat/completions', body });
const says = (content: unknown, more: JsonRecord = {}): JsonRecord => ({ role: 'user', content, ...more });
const bytesOf = (request: PromptRequest, facts: Partial<ProfileFacts> = {}): string =>
  Buffer.from(canonicalBytes(request, profileOf({ ...plainProfile, ...facts }), 1 << 14)).toString('latin1');
const ofMessages = (list: readonly unknown[], facts: Partial<ProfileFacts> = {}): string =>
  bytesOf(chat({ messages: list }), facts);

const knownFields = [
  ...['messages', 'tools', 'tool_choice', 'response_format', 'prompt', 'input', 'suffix', 'chat_template'],
  ...['documents', 'reasoning_effort', 'cache_salt', 'functions', 'chat_template_kwargs', 'anything'],
];
const messageFields = [
  ...['role', 'content', 'name', 'tool_calls', 'tool_call_id', 'reasoning_content', 'reasoning', 'refusal'],
  ...['__proto__', 'function'],
];
const roles = fc.constantFrom('system', 'developer', 'user', 'assistant', 'tool', 'function', 'moderator');
/** Messages of which each field may be anything. */
const anyMessage = fc
  .tuple(roles, fc.dictionary(fc.constantFrom(...messageFields), jsonValue))
  .map(([role, fields]): unknown => ({ role, ...fields }));
const anyMessages = fc.oneof(
  messages as fc.Arbitrary<unknown>,
  fc.array(fc.oneof(anyMessage, jsonValue)),
  jsonValue,
);
const anyRequest: fc.Arbitrary<PromptRequest> = fc
  .record({
    path: fc.constantFrom(...(Object.keys(inferenceEndpoints) as PromptRequest['path'][])),
    fields: fc.dictionary(fc.constantFrom(...knownFields), jsonValue),
    list: fc.option(anyMessages, { freq: 4 }),
    reply: fc.option(caller, { freq: 3 }),
  })
  .map(({ path, fields, list, reply }) => ({
    path,
    body: list === null ? fields : { ...fields, messages: list },
    ...(reply === null ? {} : { reply }),
  }));

test('whatever a client sends, the bytes are those of the longer form cut off, and nothing is thrown', () => {
  fc.assert(
    fc.property(anyRequest, someFacts, fc.nat({ max: 600 }), (request, facts, bytesMax) => {
      const profile = profileOf(facts);
      const whole = canonicalBytes(request, profile, 1 << 14);
      const cut = canonicalBytes(request, profile, bytesMax);
      expect(Buffer.from(cut)).toEqual(Buffer.from(whole.subarray(0, bytesMax)));
    }),
    { numRuns: 500 },
  );
});

test('into a buffer of any earlier content they are the same bytes', () => {
  fc.assert(
    fc.property(anyRequest, fc.nat({ max: 300 }), (request, bytesMax) => {
      const buffer = new Uint8Array(canonicalBufferBytes(bytesMax)).fill(0xaa);
      const given = canonicalBytes(request, plainProfile, bytesMax, buffer);
      expect(Buffer.from(given)).toEqual(Buffer.from(canonicalBytes(request, plainProfile, bytesMax)));
    }),
  );
});

/** Text that looks like the marks between parts. */
const forging = fc
  .array(fc.constantFrom('\0', '\0\0', 'U', 'T', 'A', 'S', 'a', '\0U\0T'), { maxLength: 6 })
  .map((words) => words.join(''));
const forged = fc.array(fc.tuple(fc.constantFrom('user', 'assistant'), forging), {
  minLength: 2,
  maxLength: 4,
});

test('different conversations have different bytes, whatever their texts look like', () => {
  const conversation = (list: readonly (readonly [string, string])[]): JsonRecord[] => [
    ...list.map(([role, content]) => ({ role, content })),
    says('end'),
  ];
  const holds = (left: [string, string][], right: [string, string][], joinAt: number): void => {
    const areEqual = JSON.stringify(left) === JSON.stringify(right);
    expect(ofMessages(conversation(left)) === ofMessages(conversation(right))).toBe(areEqual);
    // Two messages as one whose text holds what stands between them, as others would read it.
    const at = joinAt % (left.length - 1);
    const [[role, text], [next, more]] = left.slice(at, at + 2) as [[string, string], [string, string]];
    const joined: [string, string] = [role, `${text}\0${next === 'user' ? 'U' : 'A'}\0T${more}`];
    const forgery = conversation(left.toSpliced(at, 2, joined));
    expect(ofMessages(forgery)).not.toBe(ofMessages(conversation(left)));
  };
  fc.assert(fc.property(forged, forged, fc.nat(), holds), { numRuns: 500 });
});

test('each of these changes the bytes', () => {
  const base = {
    messages: [says('hello', { name: 'ann' })],
    tools: [{ type: 'function', function: { name: 'f' } }],
  };
  const others: JsonRecord[] = [
    { ...base, messages: [says('hello', { name: 'bob' })] },
    { ...base, messages: [says('hello', { name: 'ann', invented: 1 })] },
    { ...base, messages: [says(['hello'], { name: 'ann' })] },
    { ...base, messages: [says(null, { name: 'ann' })] },
    { ...base, messages: [says('', { name: 'ann' })] },
    { ...base, messages: [says('hello', { name: 'ann' }), { role: 'narrator', content: '' }] },
    { ...base, tools: [{ type: 'function', function: { name: 'g' } }] },
    { ...base, tools: undefined },
    { ...base, tools: 'f' },
    { ...base, tool_choice: 'none' },
    { ...base, response_format: { type: 'json_object' } },
    { ...base, reasoning_effort: 'low' },
    { ...base, cache_salt: 's' },
    { ...base, lora: [{ id: 0, scale: 1 }] },
    { ...base, lora: [{ id: 1, scale: 1 }] },
    { ...base, lora_path: 'legal' },
    { ...base, extra_key: 's' },
    { ...base, mm_processor_kwargs: { fps: 1 } },
    { ...base, media_io_kwargs: { video: { num_frames: 8 } } },
    { ...base, chat_template_kwargs: { enable_thinking: false } },
    { ...base, documents: [{ title: 't' }] },
  ];
  const bytes = [base, ...others].map((body) => bytesOf(chat(body)));
  expect(new Set(bytes).size).toBe(bytes.length);
});

test('each of these leaves the bytes as they are', () => {
  const base = { messages: [says('hello'), { role: 'assistant', content: 'hi' }, says('go on')] };
  const [first, second, third] = base.messages;
  const others: JsonRecord[] = [
    {
      ...base,
      model: 'm',
      stream: true,
      temperature: 0.5,
      user: 'u',
      n: 2,
      max_tokens: 9,
      seed: 1,
      logprobs: true,
    },
    { ...base, tools: [], tool_choice: 'auto', response_format: { type: 'text' } },
    { messages: [first, { ...second, refusal: null, tool_calls: [], annotations: [{}] }, third] },
    {
      messages: [
        first,
        second,
        says([{ type: 'text', text: 'go on', cache_control: { type: 'ephemeral' } }]),
      ],
    },
    { messages: [first, second, { content: 'go on', role: 'user' }] },
  ];
  for (const body of others) expect(bytesOf(chat(body))).toBe(bytesOf(chat(base)));
});

test('an image stands as the digest of its data', () => {
  const image = (url: string): string =>
    ofMessages([
      says([
        { type: 'text', text: 'what is it' },
        { type: 'image_url', image_url: { url } },
      ]),
    ]);
  const long = `data:image/png;base64,${'A'.repeat(100_000)}`;
  expect(image(long)).toBe(image(long));
  expect(image(long).length).toBeLessThan(300);
  expect(image(`${long}B`)).not.toBe(image(long));
  expect(image('https://host/a.png')).not.toBe(image('https://host/b.png'));
  // The digest as it stands in the bytes, sent as if it were a URL.
  const digest = /"url":"(d[0-9a-f]{64})"/.exec(image(long))?.[1] ?? '';
  expect(image(digest)).not.toBe(image(long));
  expect(image(digest.slice(1))).not.toBe(image(long));
});

test('a profile leaves out what its template leaves out, and only there', () => {
  const thought = (content: string): JsonRecord[] => [
    says('a'),
    { role: 'assistant', content, reasoning_content: 'because' },
    says('b'),
  ];
  const dropping = {
    reasoning: { ...plainProfile.reasoning, reasoning_content: 'after-last-user' },
  } as const;
  const without = ofMessages([says('a'), { role: 'assistant', content: 'x' }, says('b')]);
  expect(ofMessages(thought('x'), dropping)).toBe(without);
  expect(ofMessages(thought('x'))).not.toBe(without);
  const turn = [
    ...thought('x'),
    { role: 'assistant', content: null, reasoning_content: 'and so', tool_calls: [{}] },
  ];
  expect(ofMessages([...turn, { role: 'tool', content: 'r' }], dropping)).toContain('and so');
  expect(ofMessages([...turn, { role: 'tool', content: 'r' }, says('c')], dropping)).not.toContain('and so');
  const spaced = [says(' a\n'), says('b')];
  expect(ofMessages(spaced, { trimmed: ['user'] })).toBe(ofMessages([says('a'), says('b')]));
  expect(ofMessages(spaced, { trimmed: ['system'] })).not.toBe(ofMessages([says('a'), says('b')]));
});

test('of reasoning in the text and in a field as well nothing is left out', () => {
  const thought = (inline: string, field: string, ...more: readonly JsonRecord[]): string => {
    const answer = { role: 'assistant', content: `<think>${inline}</think>x`, reasoning_content: field };
    const rules = { reasoning_content: 'after-last-user', inline: 'after-last-user' } as const;
    return ofMessages([says('a'), answer, ...more], { reasoning: { ...plainProfile.reasoning, ...rules } });
  };
  for (const more of [[says('b')], [{ role: 'assistant', content: 'b' }]]) {
    expect(thought('one', 'why', ...more)).not.toBe(thought('two', 'why', ...more));
  }
  expect(thought('one', 'why', says('b'))).toBe(thought('one', 'other', says('b')));
});

test('tools and system text stand where the template puts them', () => {
  const body = {
    tools: [{ name: 'hammer' }],
    messages: [
      { role: 'system', content: 'sys' },
      says('one'),
      { role: 'assistant', content: 'two' },
      says('three'),
    ],
  };
  const order = (facts: Partial<ProfileFacts>): string =>
    (bytesOf(chat(body), facts).match(/hammer|sys|one|two|three/g) ?? []).join(' ');
  expect(order({})).toBe('sys hammer one two three');
  expect(order({ toolsBeforeSystem: true })).toBe('hammer sys one two three');
  expect(order({ tools: 'last-user' })).toBe('sys one two hammer three');
  expect(order({ tools: 'last-user', system: 'last-user' })).toBe('one two sys hammer three');
  expect(order({ tools: 'left-out', system: 'last-message' })).toBe('one two sys three');
  expect(order({ claims: 'head' })).toBe('sys hammer');
  expect(order({ claims: 'none' })).toBe('');
  expect(order({ tools: 'unknown' })).toBe('');
});

test('nothing is claimed where it is unknown whether a turn is over', () => {
  const dropping = { reasoning: { ...plainProfile.reasoning, inline: 'after-last-user' } } as const;
  const part = (value: string): JsonRecord => ({ type: 'text', text: value });
  const wrapped = [
    '<tool_response>4</tool_response>',
    [part('<tool_response>'), part('4')],
    [part('<tool_'), part('response>')],
  ];
  for (const content of wrapped) {
    expect(ofMessages([says('a'), says(content), says('b')], dropping)).toBe('');
    expect(ofMessages([says('a'), says(content), says('b')])).not.toBe('');
  }
  const others = ['A <tool_response>', '<tool>', [part('<tool_')], [part('tool'), part('response')], null];
  for (const content of others) {
    expect(ofMessages([says('a'), says(content), says('b')], dropping)).not.toBe('');
  }
});

test('nothing is claimed of a prompt that is rendered by rules of its own', () => {
  const body = { messages: [says('hello')] };
  for (const more of [{ chat_template: '{{ messages }}' }, { truncate_prompt_tokens: 10 }]) {
    expect(bytesOf(chat({ ...body, ...more }))).toBe('');
  }
  expect(bytesOf(chat({ messages: [{ role: 'system', content: 'alone' }] }))).toBe('');
});

test('prompts of completions and inputs of embeddings: text or token ids, the first of several', () => {
  const completion = (prompt: unknown, more: JsonRecord = {}): string =>
    bytesOf({ path: '/v1/completions', body: { prompt, ...more } });
  expect(completion(['hello', 'other'])).toBe(completion('hello'));
  expect(completion([[1, 2, 3], [4]])).toBe(completion([1, 2, 3]));
  expect(completion([1, 2, 3]).startsWith(completion([1, 2]))).toBe(true);
  expect(completion([1, 2, 70_000]).length - completion([1, 2]).length).toBe(4);
  expect(completion([1, -2, 3])).toBe(completion([1]));
  expect(completion([1, 2 ** 32, 3])).toBe(completion([1]));
  const distinct = [
    completion('hello'),
    completion('hello', { suffix: 'x' }),
    bytesOf({ path: '/v1/embeddings', body: { input: 'hello' } }),
    completion([1, 2]),
    completion([2, 1]),
    ofMessages([says('hello')]),
  ];
  expect(new Set(distinct).size).toBe(distinct.length);
  for (const nothing of [undefined, null, 7, {}, [], [[]], [{}]]) {
    expect(completion(nothing).length).toBeLessThan(8);
  }
});

test('a value too deep to write ends the bytes, and no more', () => {
  const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) as unknown;
  const before = ofMessages([says('a'), says('b')]);
  expect(ofMessages([says('a'), says('b'), says(null, { deep })]).startsWith(before)).toBe(true);
  expect(ofMessages([says('a'), says('b'), says(null, { deep }), says('beyond')])).not.toContain('beyond');
  expect(() => bytesOf(chat({ messages: [says([{ type: 'image', deep }])], tools: [deep] }))).not.toThrow();
});

test('characters of several bytes are cut where the last block ends', () => {
  const bytes = canonicalBytes(chat({ messages: [says('漢'.repeat(100))] }), plainProfile, 101);
  expect(bytes.length).toBe(101);
  expect(text(bytes)).toContain('漢');
});
