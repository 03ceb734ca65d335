import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonRecord } from '../shape.ts';
import { alignBlocks } from './align.ts';
import { blocksOf, type Chain } from './blake3.ts';
import { prefixChain, rootKey } from './chain.ts';
import { type DerivedProfile, deriveProfile } from './derive.ts';
import { sharedLength } from './shared-length.ts';
import { chatTemplates, renderer } from './testing/chat-templates.ts';
import { type ConversationPair, conversationPair } from './testing/conversations.ts';
import { templateProfiles } from './testing/template-profiles.ts';

const path = '/v1/chat/completions';
const blocksMax = 4096;
/** More, to look for what a few do not find. */
const runs = Number(process.env.TEMPLATE_RUNS ?? 120);

const sharedBlocks = (left: Chain, right: Chain): number =>
  Math.floor(sharedLength(left.digests, right.digests) / 2);

/** What a request's blocks stand for in its prompt. */
const claimsOf = (body: JsonRecord, rendered: string, derived: DerivedProfile, blockBytes: number) => {
  const { profile, facts } = derived;
  const root = rootKey({ salt: 'salt', model: 'm', profile });
  const request = { path, body } as const;
  const chain = prefixChain(request, { root, profile, blockBytes, blocksMax });
  const aligned = alignBlocks({ request, profile, facts, rendered, blockBytes, blocksMax });
  return { chain, aligned };
};

describe.each(chatTemplates)('$name', (template) => {
  const render = renderer(template);
  const known = templateProfiles[template.name];
  if (known === undefined) throw new Error(`${template.name} has no profile`);
  const hello = { role: 'user', content: 'Hello.' };
  const refusesSystem = render({ messages: [{ role: 'system', content: 'Be brief.' }, hello] }) === undefined;
  /** As its clients have to ask it. */
  const fitted = (body: JsonRecord): JsonRecord => {
    if (!refusesSystem) return body;
    const messages = body.messages as readonly JsonRecord[];
    return { ...body, messages: messages.filter(({ role }) => role !== 'system') };
  };

  test('the profile is what a reader of the template finds', async () => {
    expect(await deriveProfile(async (body) => render(body))).toEqual(known);
  });

  test('the digests that two requests share never stand for more than their prompts share', () => {
    const seen = { pairs: 0, sharing: 0, aligned: 0 };
    const holds = (pair: ConversationPair, blockBytes: number): void => {
      const [left, right] = [fitted(pair.left), fitted(pair.right)];
      const [leftPrompt, rightPrompt] = [render(left), render(right)];
      if (leftPrompt === undefined || rightPrompt === undefined) return;
      const one = claimsOf(left, leftPrompt, known, blockBytes);
      const other = claimsOf(right, rightPrompt, known, blockBytes);
      const blocks = sharedBlocks(one.chain, other.chain);
      seen.pairs += 1;
      if (blocks === 0) return;
      seen.sharing += 1;
      const chars = sharedLength(leftPrompt, rightPrompt);
      for (const { aligned } of [one, other]) {
        if (aligned === undefined) continue;
        seen.aligned += 1;
        // Behind an image nothing has a place.
        const last = Math.min(blocks, aligned.covers.length) - 1;
        expect(aligned.covers[last] ?? 0).toBeLessThanOrEqual(chars);
      }
    };
    fc.assert(fc.property(conversationPair, fc.constantFrom(1, 8, 16, 64), holds), { numRuns: runs });
    // The property says something: most pairs share blocks, and most of those were found in their prompts.
    expect(seen.pairs).toBeGreaterThan(runs / 8);
    expect(seen.sharing).toBeGreaterThan(seen.pairs / 4);
    expect(seen.aligned).toBeGreaterThan(seen.sharing * 1.5);
  });

  test('and they stand for nearly all that a long conversation shares with its next turn', () => {
    const long = (name: string): string => Array.from({ length: 120 }, (_, at) => `${name}${at}`).join(' ');
    const asked = [
      { role: 'system', content: long('system') },
      { role: 'user', content: long('first') },
      { role: 'assistant', content: long('answer') },
      { role: 'user', content: long('second') },
    ];
    const next = [
      ...asked,
      { role: 'assistant', content: long('more') },
      { role: 'user', content: long('third') },
    ];
    const [left, right] = [fitted({ messages: asked }), fitted({ messages: next })];
    const [leftPrompt, rightPrompt] = [render(left) ?? '', render(right) ?? ''];
    const one = claimsOf(left, leftPrompt, known, 64);
    const other = claimsOf(right, rightPrompt, known, 64);
    const blocks = sharedBlocks(one.chain, other.chain);
    const shared = sharedLength(leftPrompt, rightPrompt);
    expect(blocksOf(one.chain)).toBeGreaterThan(40);
    expect(one.aligned?.covers[blocks - 1]).toBeGreaterThan(0.9 * shared);
  });
});
