import { expect, test } from 'vitest';
import { RankBlocks } from './rank-blocks.ts';
import { tokenChain } from './token-blocks.ts';
import type { KvEvent } from './wire.ts';

const place = { medium: 'GPU', group: undefined } as const;
const stored: KvEvent = {
  ...{ type: 'stored', names: ['a'], parent: undefined, tokens: [1, 2], blockTokens: 2 },
  ...{ isPlain: true, place },
};
const removed: KvEvent = { type: 'removed', names: ['a'], place };
const [digest = 0n] = tokenChain([1, 2], 2);

test('of one rank all is told as it is', () => {
  const blocks = new RankBlocks();
  expect(blocks.holds(digest)).toBe(false);
  expect(blocks.apply([stored])).toEqual({ isCleared: false, held: [digest], gone: [] });
  expect(blocks.apply([removed])).toEqual({ isCleared: false, held: [], gone: [digest] });
});

test('of several ranks only what each of them holds counts', () => {
  const blocks = new RankBlocks();
  blocks.apply([stored], 0);
  expect(blocks.apply([], 1)).toEqual({ isCleared: true, held: [], gone: [] });
  expect(blocks.holds(digest)).toBe(false);
  expect(blocks.apply([stored], 1).held).toEqual([digest]);
  expect(blocks.holds(digest)).toBe(true);
  expect(blocks.apply([removed], 0).gone).toEqual([digest]);
  expect(blocks.apply([removed], 1)).toEqual({ isCleared: false, held: [], gone: [] });
  // One of two.
  expect(blocks.apply([stored], 1).held).toEqual([]);
});

test('one rank that is cleared clears all, and what it then stores counts where the others hold it', () => {
  const blocks = new RankBlocks();
  blocks.apply([stored], 0);
  blocks.apply([stored], 1);
  expect(blocks.apply([{ type: 'cleared' }, stored], 1)).toEqual({
    ...{ isCleared: true, held: [digest], gone: [] },
  });
});

test('a last block that is not full is none, and not the size of others, until the engine is another one', () => {
  const blocks = new RankBlocks();
  blocks.apply([stored]);
  const part: KvEvent = { ...stored, names: ['b'], parent: 'a', tokens: [3], blockTokens: 1 };
  expect(blocks.apply([part])).toEqual({ isCleared: false, held: [], gone: [] });
  expect(blocks.blockTokens).toBe(2);
  blocks.clear();
  expect(blocks.blockTokens).toBeUndefined();
  blocks.apply([{ ...part, parent: undefined }]);
  expect(blocks.blockTokens).toBe(1);
});

test('of several ranks any may name a block', () => {
  const blocks = new RankBlocks(2);
  expect(blocks.isNamed(digest)).toBe(false);
  blocks.apply([stored], 1);
  expect([blocks.isNamed(digest), blocks.holds(digest)]).toEqual([true, false]);
});
