/** Which cell a prompt belongs to. */
import { describe, expect, test } from 'vitest';
import { randomWords } from '../../testing/digests.ts';
import { type Anchor, anchorOf, rendezvousScore } from './cell-choice.ts';

const prompts = 4000;
const words = randomWords(3, 2 * prompts);
const anchors = Array.from(
  { length: prompts },
  (_, at): Anchor => [words[2 * at] ?? 0, words[2 * at + 1] ?? 0],
);

const cellOf = (anchor: Anchor, cells: readonly number[]): number =>
  cells.reduce((best, cell) => (rendezvousScore(anchor, cell) > rendezvousScore(anchor, best) ? cell : best));

describe('an anchor', () => {
  const chain = randomWords(1, 2 * 300);
  const anchorAt = (blocks: number): Anchor | undefined => anchorOf(chain.subarray(0, 2 * blocks));

  test('is the deepest that the prompt reaches', () => {
    const at = (block: number): Anchor => [chain[2 * block - 2] ?? 0, chain[2 * block - 1] ?? 0];
    expect([0, 15].map(anchorAt)).toEqual([undefined, undefined]);
    expect([16, 63].map(anchorAt)).toEqual([at(16), at(16)]);
    expect([64, 255, 256, 300].map(anchorAt)).toEqual([at(64), at(64), at(256), at(256)]);
  });
});

describe('cells', () => {
  test('have equal shares', () => {
    const counts = [0, 0, 0, 0];
    for (const anchor of anchors) {
      const cell = cellOf(anchor, [0, 1, 2, 3]);
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - prompts / 4)).toBeLessThan(prompts / 40);
  });

  test('that come take their share from all, and move nothing between the others', () => {
    let moved = 0;
    for (const anchor of anchors) {
      const before = cellOf(anchor, [0, 1, 2, 3]);
      const after = cellOf(anchor, [0, 1, 2, 3, 4]);
      if (after === before) continue;
      expect(after).toBe(4);
      moved += 1;
    }
    expect(Math.abs(moved - prompts / 5)).toBeLessThan(prompts / 40);
  });

  test('that go give their share away, and move nothing else', () => {
    for (const anchor of anchors) {
      const before = cellOf(anchor, [0, 1, 2, 3]);
      if (before !== 1) expect(cellOf(anchor, [0, 2, 3])).toBe(before);
    }
  });
});
