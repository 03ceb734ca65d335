import fc from 'fast-check';
import { expect, test } from 'vitest';
import { prefixBlockBytesDefault, prefixBlockBytesMax, prefixBlockBytesMin } from '../limits.ts';
import type { JsonRecord } from '../shape.ts';
import { blocksOf, type Chain } from './blake3.ts';
import { canonicalBytes } from './canonical.ts';
import { extendByReply, prefixChain, type RootOptions, rootKey } from './chain.ts';
import type { PromptRequest } from './layout.ts';
import { type PromptProfile, plainProfile, profileOf } from './profile.ts';
import { answer, caller, conversationPair, messages, text } from './testing/conversations.ts';
import { someFacts } from './testing/some-facts.ts';
import { templateProfiles } from './testing/template-profiles.ts';

const profiles = [plainProfile, ...Object.values(templateProfiles).map(({ profile }) => profile)];
const profile = fc.constantFrom(...profiles);
const blockBytes = fc.constantFrom(1, 16, 64, 256);
const blocksMax = 2048;

const optionsOf = (known: PromptProfile, bytes: number, more: Partial<RootOptions> = {}) => ({
  root: rootKey({ salt: 'salt', model: 'model', profile: known, ...more }),
  profile: known,
  blockBytes: bytes,
  blocksMax,
});
const chat = (body: JsonRecord): PromptRequest => ({ path: '/v1/chat/completions', body });
const digestsOf = (chain: Chain): string[] =>
  Array.from({ length: blocksOf(chain) }, (_, block) =>
    chain.digests.subarray(2 * block, 2 * block + 2).join('-'),
  );
const plain = (chain: Chain) => ({
  ...chain,
  digests: digestsOf(chain),
  key: [...chain.key],
  tail: [...chain.tail],
});

const sharedLength = (left: ArrayLike<unknown> = [], right: ArrayLike<unknown> = []): number => {
  let length = 0;
  while (length < Math.min(left.length, right.length) && left[length] === right[length]) length += 1;
  return length;
};

/** What two requests share: bytes of their canonical form, and digests that are equal anywhere. */
const sharing = (bodies: readonly JsonRecord[], known: PromptProfile, size: number) => {
  const bytes = bodies.map((body) => canonicalBytes(chat(body), known, blocksMax * size));
  const digests = bodies.map((body) => digestsOf(prefixChain(chat(body), optionsOf(known, size))));
  const [one = [], other = []] = digests;
  const isInOther = new Set(other);
  return {
    bytes,
    sharedBytes: sharedLength(bytes[0], bytes[1]),
    sharedBlocks: sharedLength(one, other),
    equalDigests: one.filter((digest) => isInOther.has(digest)).length,
  };
};

test('a prompt that extends another shares exactly its full blocks', () => {
  fc.assert(
    fc.property(messages, messages, blockBytes, (first, more, size) => {
      const begun = first.at(-1)?.role === 'assistant' ? first.slice(0, -1) : first;
      fc.pre(begun.some(({ role }) => role === 'user'));
      const bodies = [{ messages: begun }, { messages: [...begun, ...more] }];
      const { bytes, sharedBytes, sharedBlocks, equalDigests } = sharing(bodies, plainProfile, size);
      expect(sharedBytes).toBe(bytes[0]?.length);
      expect(sharedBlocks).toBe(Math.floor(sharedBytes / size));
      expect(equalDigests).toBe(sharedBlocks);
    }),
    { numRuns: 200 },
  );
});

test('a change before a block changes it and all after, with any profile', () => {
  fc.assert(
    fc.property(conversationPair, profile, blockBytes, ({ left, right }, known, size) => {
      const { sharedBytes, sharedBlocks, equalDigests } = sharing([left, right], known, size);
      expect(sharedBlocks).toBe(Math.floor(sharedBytes / size));
      expect(equalDigests).toBe(sharedBlocks);
    }),
    { numRuns: 200 },
  );
});

test('salts, models and profiles never share a digest', () => {
  const name = fc.oneof(fc.string({ maxLength: 4 }), fc.constantFrom('1:a', 'a', '', '2:b1:a'));
  const root = fc.record({
    salt: name,
    model: name,
    profile: fc.oneof(profile, someFacts.map(profileOf)),
  });
  const body = { prompt: 'once upon a time there was a prompt of several blocks'.repeat(4) };
  fc.assert(
    fc.property(root, root, (left, right) => {
      const isSame =
        JSON.stringify([left.salt, left.model, left.profile.id]) ===
        JSON.stringify([right.salt, right.model, right.profile.id]);
      const [one, other] = [left, right].map((options) =>
        digestsOf(
          prefixChain(
            { path: '/v1/completions', body },
            { root: rootKey(options), profile: plainProfile, blockBytes: 64, blocksMax },
          ),
        ),
      );
      expect(one?.length).toBe(3);
      expect(one?.some((digest) => other?.includes(digest))).toBe(isSame);
    }),
    { numRuns: 500 },
  );
});

const asked = fc.record({
  list: fc
    .tuple(messages, text)
    .map(([list, said]): JsonRecord[] => [...list, { role: 'user', content: said }]),
  ran: text.map((said): JsonRecord => ({ role: 'tool', tool_call_id: 'call12345', content: said })),
  ending: fc.constantFrom('user', 'tool', 'assistant'),
  call: caller,
  reply: fc.oneof(answer, caller),
  // Of a user's message that begins like a tool's result nobody knows whether it ends the turn.
  next: text.map((said): JsonRecord => ({ role: 'user', content: `Next: ${said}` })),
  tools: fc.constantFrom({}, { tools: [{ type: 'function', function: { name: 'weather' } }] }),
});

test('to extend by the reply is to hash the longer conversation, and what follows it begins so', () => {
  fc.assert(
    fc.property(
      asked,
      profile,
      blockBytes,
      ({ list, ran, ending, call, reply, next, tools }, known, size) => {
        const options = optionsOf(known, size);
        // An answer at the end is one to be continued.
        const more = { user: [], tool: [call, ran], assistant: [{ role: 'assistant', content: 'Yes' }] };
        const body = { messages: [...list, ...more[ending]], ...tools };
        const request = chat(body);
        const extended = extendByReply(prefixChain(request, options), { ...request, reply }, options);
        expect(plain(extended)).toEqual(plain(prefixChain({ ...request, reply }, options)));
        const follow = reply.tool_calls === undefined ? next : ran;
        const longer = prefixChain(chat({ ...body, messages: [...body.messages, reply, follow] }), options);
        expect(digestsOf(longer).slice(0, blocksOf(extended))).toEqual(digestsOf(extended));
      },
    ),
    { numRuns: 300 },
  );
});

test('the reply alone is hashed where nothing before it changes', () => {
  const { profile: qwen } = templateProfiles['Qwen2.5'] ?? { profile: plainProfile };
  const options = optionsOf(qwen, 16);
  const request = chat({ messages: [{ role: 'user', content: 'u'.repeat(5000) }] });
  const reply = { role: 'assistant', content: 'a'.repeat(100) };
  const chain = prefixChain(request, options);
  // A chain that is not of this request is extended all the same: nothing but the reply was read.
  const other = prefixChain(chat({ messages: [{ role: 'user', content: 'v'.repeat(5000) }] }), options);
  const extended = digestsOf(extendByReply(other, { ...request, reply }, options));
  expect(extended.slice(0, blocksOf(other))).toEqual(digestsOf(other));
  expect(extended.length).toBeGreaterThan(blocksOf(chain));
});

test('what was said in the turn under way and is written in another way once it is over is hashed anew', () => {
  const { profile: deepseek } = templateProfiles['DeepSeek-R1'] ?? { profile: plainProfile };
  const options = optionsOf(deepseek, 1);
  const call = { id: 'call12345', type: 'function', function: { name: 'f', arguments: '{}' } };
  const thought = {
    role: 'assistant',
    content: '<think>why</think>',
    reasoning_content: '',
    tool_calls: [call],
  };
  const ran = { role: 'tool', tool_call_id: 'call12345', content: 'r' };
  const request = chat({ messages: [{ role: 'user', content: 'a' }, thought, ran] });
  const reply = { role: 'assistant', content: 'b' };
  const extended = extendByReply(prefixChain(request, options), { ...request, reply }, options);
  expect(plain(extended)).toEqual(plain(prefixChain({ ...request, reply }, options)));
});

test('a reply adds nothing to a prompt of which nothing more is known', () => {
  const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) as unknown;
  const user = { role: 'user', content: 'u'.repeat(100) };
  const reply = { role: 'assistant', content: 'a'.repeat(100) };
  const bodies: JsonRecord[] = [
    { messages: [{ role: 'system', content: 'alone' }] },
    { messages: [user], chat_template: '{{ messages }}' },
    { messages: [user, { ...user, deep }] },
  ];
  for (const body of bodies) {
    const options = optionsOf(plainProfile, 16);
    const chain = prefixChain(chat(body), options);
    expect(plain(extendByReply(chain, { ...chat(body), reply }, options))).toEqual(plain(chain));
  }
});

test('a completion goes on with its text', () => {
  const path = '/v1/completions';
  const options = optionsOf(plainProfile, 16);
  const request = { path, body: { prompt: 'once upon a time, ' } } as const;
  const reply = { content: 'there was a prompt that went on and on' };
  const longer = { path, body: { prompt: `${request.body.prompt}${reply.content}` } } as const;
  const extended = extendByReply(prefixChain(request, options), { ...request, reply }, options);
  expect(plain(extended)).toEqual(plain(prefixChain(longer, options)));
});

test('a chain has at most as many blocks as asked for, those of the head', () => {
  const request = chat({ messages: [{ role: 'user', content: 'word '.repeat(10_000) }] });
  const options = optionsOf(plainProfile, 64);
  const whole = digestsOf(prefixChain(request, options));
  const head = digestsOf(prefixChain(request, { ...options, blocksMax: 10 }));
  expect(head).toEqual(whole.slice(0, 10));
});

test('any block size that an edge may choose can be hashed', () => {
  const request = chat({ messages: [{ role: 'user', content: 'word '.repeat(1000) }] });
  for (const size of [prefixBlockBytesMin, prefixBlockBytesDefault, prefixBlockBytesMax]) {
    const chain = prefixChain(request, optionsOf(plainProfile, size));
    expect(blocksOf(chain)).toBe(Math.floor(canonicalBytes(request, plainProfile, 1 << 14).length / size));
  }
});
