import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonRecord } from '../shape.ts';
import { alignBlocks, alignTokenPrompt, tokensReaching } from './align.ts';
import { canonicalBytes } from './canonical.ts';
import { chatTemplates, renderer } from './testing/chat-templates.ts';
import { messages } from './testing/conversations.ts';
import { templateProfiles } from './testing/template-profiles.ts';
import { tokensOf } from './testing/word-tokens.ts';

const path = '/v1/chat/completions';
const qwen = templateProfiles['Qwen2.5'];
const qwenTemplate = chatTemplates.find(({ name }) => name === 'Qwen2.5');
if (qwen === undefined || qwenTemplate === undefined) throw new Error('Qwen2.5 is one of the templates');
const renderQwen = renderer(qwenTemplate);

const align = (body: JsonRecord, rendered: string, blockBytes: number) =>
  alignBlocks({ request: { path, body }, ...qwen, rendered, blockBytes, blocksMax: 1 << 16 });

/** Two letters: nearly every text occurs within every other, and in what the template writes. */
const ambiguous = fc.string({ unit: fc.constantFrom('a', 's'), minLength: 1, maxLength: 8 });
const conversation = fc
  .tuple(fc.option(ambiguous), fc.array(fc.tuple(ambiguous, ambiguous), { maxLength: 4 }), ambiguous)
  .map(([system, turns, last]) => [
    ...(system === null ? [] : [{ role: 'system', content: system }]),
    ...turns.flatMap(([asked, said]) => [
      { role: 'user', content: asked },
      { role: 'assistant', content: said },
    ]),
    { role: 'user', content: last },
  ]);

/** The first of the characters that nobody else uses. */
const privateUse = 0xe000;

/** The same conversation with each character of its texts a different one, so that each is found for certain. */
const numbered = (list: readonly { role: string; content: string }[]) => {
  let next = privateUse;
  const renamed = (text: string): string =>
    Array.from(text, () => {
      next += 1;
      return String.fromCharCode(next - 1);
    }).join('');
  return list.map(({ role, content }) => ({ role, content: renamed(content) }));
};

/** For each byte of the canonical form, how many characters of texts end at or before it, in its own order. */
const charactersBefore = (bytes: Uint8Array): number[] => {
  let count = 0;
  return Array.from(bytes, (byte, at) => {
    if (byte !== 0 && bytes[at - 1] !== 0) count += 1;
    return count;
  });
};

describe.each(chatTemplates)('$name', (template) => {
  const render = renderer(template);
  const known = templateProfiles[template.name] ?? qwen;

  test('the place of each byte lies between what it covers and what it needs', () => {
    const holds = (asked: readonly { role: string; content: string }[]): void => {
      // Gemma refuses a system text.
      const isRefused = render({ messages: asked }) === undefined;
      const list = isRefused ? asked.filter(({ role }) => role !== 'system') : asked;
      const rendered = render({ messages: list }) ?? '';
      const truth = render({ messages: numbered(list) }) ?? '';
      const request = { path, body: { messages: list } } as const;
      const aligned = alignBlocks({ request, ...known, rendered, blockBytes: 1, blocksMax: 1 << 16 });
      const bytes = canonicalBytes(request, known.profile, 1 << 16);
      // In the canonical order the system text may stand elsewhere than in the list.
      const order = charactersBefore(
        canonicalBytes({ path, body: { messages: list } }, known.profile, 1 << 16),
      );
      const sequence = Array.from(
        new TextDecoder().decode(
          canonicalBytes({ path, body: { messages: numbered(list) } }, known.profile, 1 << 16),
        ),
      ).filter((character) => character.charCodeAt(0) >= privateUse);
      expect(aligned?.covers.length).toBe(bytes.length);
      for (const [at, count] of order.entries()) {
        const end = count === 0 ? 0 : truth.indexOf(sequence[count - 1] ?? '?') + 1;
        expect(aligned?.covers[at]).toBeLessThanOrEqual(end);
        expect(aligned?.needs[at]).toBeGreaterThanOrEqual(end);
      }
    };
    fc.assert(fc.property(conversation, holds), { numRuns: 100 });
  });
});

test('positions never go back, and tokens stand for what the characters do', () => {
  fc.assert(
    fc.property(messages, fc.constantFrom(4, 64), (list, blockBytes) => {
      const body = { messages: list };
      const rendered = renderQwen(body) ?? '';
      const aligned = align(body, rendered, blockBytes);
      if (aligned === undefined) return;
      const { ends } = tokensOf(rendered);
      const { covers, needs } = aligned;
      const tokens = tokensReaching(needs, ends);
      for (let block = 0; block < covers.length; block += 1) {
        expect(covers[block]).toBeGreaterThanOrEqual(covers[block - 1] ?? 0);
        expect(needs[block]).toBeGreaterThanOrEqual(covers[block] ?? 0);
        const [reached, before] = [ends[(tokens[block] ?? 0) - 1], ends[(tokens[block] ?? 0) - 2]];
        expect(reached ?? 0).toBeGreaterThanOrEqual(needs[block] ?? 0);
        expect(before ?? -1).toBeLessThan(needs[block] ?? 0);
      }
    }),
    { numRuns: 100 },
  );
});

test('a block that ends in a text stands at that character, whatever bytes it takes', () => {
  const body = { messages: [{ role: 'user', content: `${'x'.repeat(90)} é漢😀\0${'y'.repeat(90)}` }] };
  const rendered = renderQwen(body) ?? '';
  const bytes = canonicalBytes({ path, body }, qwen.profile, 4096);
  const aligned = align(body, rendered, 1);
  const from = rendered.indexOf('xxx');
  const textAt = Buffer.from(bytes).indexOf('xxx');
  const expected: [string, number, number][] = [
    ['x', 0, 1],
    ['é', 91, 2],
    ['漢', 92, 3],
    ['😀', 93, 4],
    ['\0', 95, 2],
  ];
  let at = textAt + 91;
  expect(aligned?.covers[textAt]).toBe(from + 1);
  expect(aligned?.needs[textAt]).toBe(from + 1);
  for (const [character, position, byteCount] of expected.slice(1)) {
    const last = at + byteCount - 1;
    expect([character, aligned?.covers[last]]).toEqual([character, from + position + character.length]);
    expect([character, aligned?.needs[last]]).toEqual([character, from + position + character.length]);
    // One byte earlier the character is not whole: it is needed, but not covered. (The space before is not claimed.)
    expect(aligned?.covers[last - 1]).toBe(from + position - (position === 91 ? 1 : 0));
    expect(aligned?.needs[last - 1]).toBe(from + position + character.length);
    at = last + 1;
  }
});

const tool = (name: string) => ({
  type: 'function',
  function: { name, description: 'd'.repeat(100), parameters: { type: 'object', properties: {} } },
});

test('blocks within tools stand at the ends of tools', () => {
  const body = {
    tools: ['one', 'two', 'three'].map(tool),
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Go.' },
    ],
  };
  const rendered = renderQwen(body) ?? '';
  const aligned = align(body, rendered, 16);
  const bytes = Buffer.from(canonicalBytes({ path, body }, qwen.profile, 4096));
  const inSecond = Math.floor((bytes.indexOf('"two"') + 50) / 16);
  const firstEnd = rendered.indexOf('"one"') + rendered.slice(rendered.indexOf('"one"')).indexOf('\n');
  const secondEnd = rendered.indexOf('"two"') + rendered.slice(rendered.indexOf('"two"')).indexOf('\n');
  expect([aligned?.covers[inSecond], aligned?.needs[inSecond]]).toEqual([firstEnd, secondEnd]);
});

test('where a template rewrites what it is given, blocks stand at the texts around it', () => {
  const call = {
    id: 'call12345',
    type: 'function',
    function: { name: 'f', arguments: `{"a":"${'b'.repeat(200)}"}` },
  };
  const body = {
    messages: [
      { role: 'user', content: 'Question.' },
      { role: 'assistant', content: 'Let me see.', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call12345', content: 'Found.' },
    ],
  };
  const rendered = renderQwen(body) ?? '';
  const aligned = align(body, rendered, 16);
  const bytes = Buffer.from(canonicalBytes({ path, body }, qwen.profile, 4096));
  const inCall = Math.floor((bytes.indexOf('bbb') + 60) / 16);
  const before = rendered.indexOf('Let me see.') + 'Let me see.'.length;
  expect([aligned?.covers[inCall], aligned?.needs[inCall]]).toEqual([before, rendered.indexOf('Found.')]);
});

test('nothing is claimed of a prompt that does not hold the texts in their order', () => {
  const body = {
    messages: [
      { role: 'user', content: 'first text' },
      { role: 'assistant', content: 'second text' },
      { role: 'user', content: 'third text' },
    ],
  };
  const rendered = renderQwen(body) ?? '';
  expect(align(body, rendered, 16)).toBeDefined();
  expect(align(body, rendered.replace('second', '2nd'), 16)).toBeUndefined();
  expect(
    align(body, rendered.replace('first', 'third').replace(/third text(?!.*third)/s, 'first text'), 16),
  ).toBeUndefined();
});

test('a prompt of token ids stands at its tokens', () => {
  const request = {
    path: '/v1/completions',
    body: { prompt: Array.from({ length: 100 }, (_, id) => id) },
  } as const;
  const aligned = alignTokenPrompt({ request, profile: qwen.profile, blockBytes: 64, blocksMax: 2048 });
  // The head takes four bytes: a token less in the first block.
  expect([...(aligned?.covers ?? [])]).toEqual([15, 31, 47, 63, 79, 95]);
  expect(aligned?.needs).toEqual(aligned?.covers);
  const text = { path: '/v1/completions', body: { prompt: 'text' } } as const;
  expect(
    alignTokenPrompt({ request: text, profile: qwen.profile, blockBytes: 64, blocksMax: 9 }),
  ).toBeUndefined();
});

test('behind an image no block has a place', () => {
  const parts = [
    { type: 'text', text: 'a'.repeat(100) },
    { type: 'image_url', image_url: { url: 'https://host/a.png' } },
    { type: 'text', text: 'b'.repeat(100) },
  ];
  const body = { messages: [{ role: 'user', content: parts }] };
  const aligned = align(body, renderQwen(body) ?? '', 16);
  expect(aligned?.covers.length).toBe(Math.floor((100 + 8) / 16));
});

/** A call whose arguments hold the beginning of the result's text so many times, which the prompt then holds, too. */
const withFalseStarts = (count: number): JsonRecord => {
  const start = `q${'r'.repeat(63)}`;
  const args = JSON.stringify({ a: `${start} `.repeat(count) });
  const call = { id: 'call12345', type: 'function', function: { name: 'f', arguments: args } };
  return {
    messages: [
      { role: 'user', content: 'Question.' },
      { role: 'assistant', content: 'Let me see.', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call12345', content: `${start} and its end.` },
    ],
  };
};

test('a text is sought at so many places and no more, from either end: a hostile prompt costs no more', () => {
  const [few, many] = [withFalseStarts(10), withFalseStarts(100)];
  expect(align(few, renderQwen(few) ?? '', 16)).toBeDefined();
  expect(align(many, renderQwen(many) ?? '', 16)).toBeUndefined();
  const turned = (body: JsonRecord): JsonRecord => {
    const [user, call, result] = body.messages as JsonRecord[];
    const said = { role: 'user', content: result?.content };
    return { messages: [said, { ...call, content: null }, { ...result, content: 'Found.' }, user] };
  };
  expect(align(turned(few), renderQwen(turned(few)) ?? '', 16)).toBeDefined();
  expect(align(turned(many), renderQwen(turned(many)) ?? '', 16)).toBeUndefined();
});
