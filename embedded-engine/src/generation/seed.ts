/**
 * The seed of a choice as llama.cpp's sampler takes it: 32 bits, of which one value means "draw one". Pure. Every
 * digit of a client's seed counts: two seeds, or two choices of one seed, differ here too but for chance.
 */
import { createHash } from 'node:crypto';

/** LLAMA_DEFAULT_SEED: llama.cpp would take a random one instead. */
const nativeDraw = 0xffff_ffff;

/** Small seeds go through as they are, so that they say the same to every program around llama.cpp. */
export function nativeSeed(seed: number, choice: number): number {
  if (choice === 0 && seed >= 0 && seed < nativeDraw) return seed;
  return createHash('sha256').update(`${seed}/${choice}`).digest().readUInt32BE() % nativeDraw;
}
