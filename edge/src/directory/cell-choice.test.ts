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

/** Of cells with these numbers; they weigh the same unless `weights` says otherwise. */
const cellOf = (anchor: Anchor, cells: readonly number[], weights: readonly number[] = []): number => {
  const score = (cell: number): number => rendezvousScore(anchor, cell, weights[cell] ?? 1);
  return cells.reduce((best, cell) => (score(cell) > score(best) ? cell : best));
};

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

  test('have shares by their replicas: one with a single replica is no half of the fleet', () => {
    const share = anchors.filter((anchor) => cellOf(anchor, [0, 1], [64, 1]) === 1).length / prompts;
    expect(share).toBeGreaterThan(0.5 / 65);
    expect(share).toBeLessThan(2 / 65);
  });

  test('that grow take from the others, and move nothing between them', () => {
    for (const anchor of anchors) {
      const before = cellOf(anchor, [0, 1, 2], [4, 4, 1]);
      const after = cellOf(anchor, [0, 1, 2], [4, 4, 2]);
      if (after !== before) expect(after).toBe(2);
    }
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
