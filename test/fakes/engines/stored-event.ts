/** One message of KV events in arrays by position, as engines published it first. Only fakes of them use it. */
import { Float, pack } from '../msgpack.ts';

const blockTokens = 16;

/** A block of its own for each number. `more` is what a release adds behind the block's size. */
export const storedEvent = (block: number, more: readonly (string | undefined)[]): Uint8Array => {
  const tokens = Array.from({ length: blockTokens }, (_, at) => block * blockTokens + at);
  const behind = more.map((value) => value ?? null);
  const name = 0xfedc_ba98_7654_0000n + BigInt(block);
  const stored = ['BlockStored', [name], null, tokens, blockTokens, ...behind];
  return pack([new Float(1_761_000_000.5), [stored]]);
};
