/**
 * One message of KV events as vLLM and SGLang publish it,
 * `[time, [["BlockStored", hashes, parent, tokens, size, ...]]]` in MessagePack, written out by hand after
 * the format's specification.
 */

/** As short as the format has it, which is how these engines write. */
const integer = (value: number): Buffer => {
  if (value < 0x80) return Buffer.from([value]);
  if (value < 0x1_0000) return Buffer.from([0xcd, value >> 8, value & 0xff]);
  const bytes = Buffer.alloc(5);
  bytes[0] = 0xce;
  bytes.writeUInt32BE(value, 1);
  return bytes;
};
const hash = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcf;
  bytes.writeBigUInt64BE(value, 1);
  return bytes;
};
const float = (value: number): Buffer => {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
};
const text = (value: string): Buffer =>
  Buffer.concat([Buffer.from([0xa0 | value.length]), Buffer.from(value)]);
const nil = Buffer.from([0xc0]);
/** Up to 15 items, or as many as two bytes count. */
const list = (items: readonly Buffer[]): Buffer => {
  const head = Buffer.from([0xdc, items.length >> 8, items.length & 0xff]);
  return Buffer.concat([items.length < 16 ? Buffer.from([0x90 | items.length]) : head, ...items]);
};

const blockTokens = 16;

/** A block of its own for each number. `more` is what a release adds behind the block's size. */
export const storedEvent = (block: number, more: readonly (string | undefined)[]): Uint8Array => {
  const tokens = Array.from({ length: blockTokens }, (_, at) => integer(block * blockTokens + at));
  const stored = list([
    text('BlockStored'),
    list([hash(0xfedc_ba98_7654_0000n + BigInt(block))]),
    nil,
    list(tokens),
    integer(blockTokens),
    ...more.map((value) => (value === undefined ? nil : text(value))),
  ]);
  return list([float(1_761_000_000.5), list([stored])]);
};
