/** Caches of equal blocks that differ in who goes: the store's own policy, and others to hold it against. */
import { type Queued, S3Fifo } from '../../kvcache/src/tiers/ram/s3-fifo.ts';

export interface Cache {
  has(block: number): boolean;
  touch(block: number): void;
  /** One that it has not. Makes room first. */
  insert(block: number): void;
}

/** Of so many blocks. */
export type MakeCache = (blocksMax: number) => Cache;

const s3Fifo: MakeCache = (blocksMax) => {
  const queue = new S3Fifo<Queued>(blocksMax);
  const values = new Map<number, Queued>();
  return {
    has: (block) => values.has(block),
    touch: (block) => {
      const value = values.get(block);
      if (value !== undefined) queue.touch(value);
    },
    insert: (block) => {
      while (values.size >= blocksMax) values.delete(Number(queue.evict(() => true)?.key));
      const value: Queued = { key: String(block), bytes: 1, place: undefined };
      values.set(block, value);
      queue.insert(value);
    },
  };
};

const lru: MakeCache = (blocksMax) => {
  const blocks = new Set<number>();
  const touch = (block: number): void => {
    blocks.delete(block);
    blocks.add(block);
  };
  return {
    has: (block) => blocks.has(block),
    touch,
    insert: (block) => {
      for (const oldest of blocks) {
        if (blocks.size < blocksMax) break;
        blocks.delete(oldest);
      }
      blocks.add(block);
    },
  };
};

/** SIEVE (Zhang et al., NSDI 2024): one queue, and a hand that goes from the oldest to the newest and around. */
const sieve: MakeCache = (blocksMax) => {
  const asked = new Map<number, boolean>();
  let hand = asked.entries();
  const evict = (): void => {
    for (;;) {
      const step = hand.next();
      if (step.done === true) {
        hand = asked.entries();
        continue;
      }
      const [block, isAsked] = step.value;
      if (!isAsked) {
        asked.delete(block);
        return;
      }
      asked.set(block, false);
    }
  };
  return {
    has: (block) => asked.has(block),
    touch: (block) => void asked.set(block, true),
    insert: (block) => {
      if (asked.size >= blocksMax) evict();
      asked.set(block, false);
    },
  };
};

/** Who is in a window may take a place in the main part only of one that was asked for less often. */
const tinyLfuWindow = 0.01;
const tinyLfuProtected = 0.8;
const tinyLfuCountMax = 15;
/** Counts are halved after so many times the cache's blocks. */
const tinyLfuAge = 10;

/** W-TinyLFU (Einziger et al., 2017), with exact counts where its authors have a sketch. */
const wTinyLfu: MakeCache = (blocksMax) => {
  const windowMax = Math.max(1, Math.floor(blocksMax * tinyLfuWindow));
  const protectedMax = Math.floor((blocksMax - windowMax) * tinyLfuProtected);
  const [window, probation, guarded] = [new Set<number>(), new Set<number>(), new Set<number>()];
  const counts = new Map<number, number>();
  let counted = 0;
  const count = (block: number): void => {
    counts.set(block, Math.min(tinyLfuCountMax, (counts.get(block) ?? 0) + 1));
    counted += 1;
    if (counted < tinyLfuAge * blocksMax) return;
    counted = 0;
    for (const [known, times] of counts) {
      if (times > 1) counts.set(known, times >> 1);
      else counts.delete(known);
    }
  };
  const oldestOf = (part: Set<number>): number | undefined => part.values().next().value;
  const admit = (block: number): void => {
    if (probation.size + guarded.size < blocksMax - windowMax) {
      probation.add(block);
      return;
    }
    const victim = oldestOf(probation) ?? oldestOf(guarded);
    if (victim === undefined || (counts.get(block) ?? 0) <= (counts.get(victim) ?? 0)) return;
    if (!probation.delete(victim)) guarded.delete(victim);
    probation.add(block);
  };
  return {
    has: (block) => window.has(block) || probation.has(block) || guarded.has(block),
    touch: (block) => {
      count(block);
      if (window.delete(block)) {
        window.add(block);
        return;
      }
      guarded.delete(block);
      probation.delete(block);
      guarded.add(block);
      const oldest = oldestOf(guarded);
      if (guarded.size <= protectedMax || oldest === undefined) return;
      guarded.delete(oldest);
      probation.add(oldest);
    },
    insert: (block) => {
      count(block);
      window.add(block);
      const oldest = oldestOf(window);
      if (window.size <= windowMax || oldest === undefined) return;
      window.delete(oldest);
      admit(oldest);
    },
  };
};

export const caches = { LRU: lru, SIEVE: sieve, 'S3-FIFO': s3Fifo, 'W-TinyLFU': wTinyLfu } as const;
