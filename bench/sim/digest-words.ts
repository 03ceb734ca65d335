/**
 * Block ids of a trace as prefix digests. An equal id already means an equal prefix, so any fixed mixing will do; what
 * is asked of it is that two ids never give the same words. Knows nothing of texts.
 */
export class DigestWords {
  /** Digests that stand for one block of the trace. */
  readonly perBlock: number;

  constructor(perBlock: number) {
    this.perBlock = perBlock;
  }

  /** Pairs of low and high word, of the first so many digests. */
  of(blocks: readonly number[], digestsMax = Number.POSITIVE_INFINITY): Uint32Array {
    const { perBlock } = this;
    const digests = new Uint32Array(2 * Math.min(digestsMax, blocks.length * perBlock));
    for (let at = 0; at < digests.length; at += 2) {
      const digest = at / 2;
      const id = (blocks[Math.floor(digest / perBlock)] ?? 0) * perBlock + (digest % perBlock);
      // Multiplying by an odd number and folding the high bits down are both one to one: ids keep apart.
      const low = Math.imul(id + 1, 0x9e3779b1) ^ 0x51ed270b;
      digests[at] = Math.imul(low ^ (low >>> 15), 0x85ebca6b);
      digests[at + 1] = Math.imul(id ^ (low >>> 13), 0xc2b2ae35);
    }
    return digests;
  }
}
