import { expect, it } from 'vitest';
import { nativeSeed } from './seed.ts';

it('keeps a small seed as it is, and never asks llama.cpp to draw one', () => {
  for (const seed of [0, 7, 0xffff_fffe]) expect(nativeSeed(seed, 0)).toBe(seed);
  for (const seed of [-2, 0xffff_ffff, 2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
    const native = nativeSeed(seed, 0);
    expect(Number.isInteger(native) && native >= 0 && native < 0xffff_ffff).toBe(true);
    expect(nativeSeed(seed, 0)).toBe(native);
  }
});

it('lets every digit count, and the choice', () => {
  const seeds = [7, 7 + 2 ** 32, 7 - 2 ** 32, -7, 2 ** 53 - 1, 2 ** 53 - 2, 8];
  const natives = seeds.flatMap((seed) => [0, 1, 2].map((choice) => nativeSeed(seed, choice)));
  expect(new Set(natives).size).toBe(natives.length);
});
