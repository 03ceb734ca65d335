/**
 * Which of several cells a prompt belongs to, pure: rendezvous hashing of the deepest anchor that the prompt reaches,
 * so that what shares a long prefix meets in one cell, and a cell that comes or goes moves only its own share. Knows
 * cells by number only.
 */

/** Blocks at which a prompt has an anchor: 4, 16 and 64 KiB of 256-byte blocks. */
const anchorBlocks = [16, 64, 256] as const;

/** The low and high word of a digest, or undefined for a prompt too short to have one. */
export type Anchor = readonly [lo: number, hi: number];

export const anchorOf = (chain: Uint32Array): Anchor | undefined => {
  const blocks = chain.length / 2;
  let depth = 0;
  for (const anchor of anchorBlocks) if (blocks >= anchor) depth = anchor;
  if (depth === 0) return undefined;
  return [chain[2 * depth - 2] ?? 0, chain[2 * depth - 1] ?? 0];
};

/**
 * The higher the more the cell with this number is the anchor's: cells have shares by their weights, and one whose
 * weight changes moves only what it gains or loses. Mixing as in MurmurHash3's finalizer.
 */
export const rendezvousScore = (anchor: Anchor | undefined, cell: number, weight: number): number => {
  const [lo, hi] = anchor ?? [0, 0];
  let hash = (lo ^ Math.imul(cell + 1, 0x9e3779b1)) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ hi ^ (hash >>> 13), 0xc2b2ae35);
  const uniform = (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  return -weight / Math.log(uniform);
};
