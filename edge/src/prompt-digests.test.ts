import {
  prefixBlockBytesDefault,
  prefixBlockBytesMin,
  prefixBlocksMax,
  prefixBodyBytesMax,
} from '@cognitora/protocol/limits';
import { blocksOf } from '@cognitora/protocol/prefix/blake3';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { type PromptProfile, plainProfile, profileOf } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { PromptDigests } from './prompt-digests.ts';

const path = '/v1/chat/completions';
const prefix = { salt: 'a salt', blockBytes: prefixBlockBytesDefault };
const bodyOf = (chars: number) => ({ messages: [{ role: 'user', content: 'x'.repeat(chars) }] });
const digestsOf = (body: ReturnType<typeof bodyOf> | undefined, bodyBytes = 1_000) =>
  new PromptDigests({ path, model: 'm', body, bodyBytes, prefix });
const other: PromptProfile = profileOf({ ...plainProfile, system: 'last-user' });

test('a prompt’s digests are those of the protocol, with its length', () => {
  const body = bodyOf(1_000);
  const root = rootKey({ salt: prefix.salt, model: 'm', profile: plainProfile });
  const chain = prefixChain(
    { path, body },
    { root, profile: plainProfile, blockBytes: 256, blocksMax: prefixBlocksMax },
  );
  const view = digestsOf(body).by(plainProfile);
  expect(view).toMatchObject({ profile: plainProfile.id, chain: chain.digests, blockBytes: 256 });
  expect(view?.bytes).toBe(blocksOf(chain) * 256 + chain.tail.length);
});

test('a prompt beyond what digests reach is as long as its body', () => {
  const small = { ...prefix, blockBytes: prefixBlockBytesMin };
  const source = { path, model: 'm', body: bodyOf(600_000), bodyBytes: 600_123, prefix: small } as const;
  const view = new PromptDigests(source).by(plainProfile);
  expect([(view?.chain.length ?? 0) / 2, view?.bytes]).toEqual([prefixBlocksMax, 600_123]);
});

test('with blocks as by default the longest prompt that is read is digested to its end', () => {
  const chars = prefixBodyBytesMax - 1_000;
  const view = digestsOf(bodyOf(chars), prefixBodyBytesMax).by(plainProfile);
  const digested = ((view?.chain.length ?? 0) / 2) * prefix.blockBytes;
  expect(digested).toBeGreaterThan(chars - prefix.blockBytes);
  expect(view?.bytes).toBeLessThan(prefixBodyBytesMax);
});

test('each region with the same profile gets the same digests, one with another profile none', () => {
  const digests = digestsOf(bodyOf(1_000));
  const first = digests.by(plainProfile);
  expect(digests.by(plainProfile)).toBe(first);
  expect(digests.by(other)).toBeUndefined();
  expect(digests.by(undefined)).toBeUndefined();
});

test('where nobody’s cache is known the body is not kept for later', () => {
  const digests = digestsOf(bodyOf(1_000));
  expect([digests.isPossible, digests.by(undefined), digests.isPossible]).toEqual([true, undefined, false]);
  expect(digestsOf(undefined).isPossible).toBe(false);
});

test('prompts of two models never share a digest, nor those of two adapters of one base model', () => {
  const source = { path, body: bodyOf(1_000), bodyBytes: 1, prefix } as const;
  const named = ['base', 'base-legal', 'base-medical'].map((model) =>
    new PromptDigests({ ...source, model }).by(plainProfile),
  );
  const digests = named.flatMap((view) => [
    ...new BigUint64Array(view?.chain.slice().buffer ?? new ArrayBuffer()),
  ]);
  expect([digests.length, new Set(digests).size]).toEqual([9, 9]);
});
