/** MessagePack, as much of it as engines' events need, from its specification: nothing of the product is imported. */

/** A floating-point number, which JavaScript's do not tell from whole ones. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type Packable =
  | null
  | string
  | number
  | bigint
  | Float
  | Uint8Array
  | readonly Packable[]
  | { readonly [name: string]: Packable };

const withLength = (lead: number, bytes: number, length: number): Buffer => {
  const head = Buffer.alloc(1 + bytes);
  head[0] = lead;
  head.writeUIntBE(length, 1, bytes);
  return head;
};

const float = (value: number): Buffer => {
  const bytes = Buffer.alloc(9, 0xcb);
  bytes.writeDoubleBE(value, 1);
  return bytes;
};

const integer = (value: bigint): Buffer => {
  if (value >= 0n && value < 0x80n) return Buffer.of(Number(value));
  const bytes = Buffer.alloc(9, value < 0n ? 0xd3 : 0xcf);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value), 1);
  return bytes;
};

/** `short` counts up to 15 in the first byte, `long` in two more. */
const headOf = (length: number, short: number, long: number): Buffer =>
  length < 16 ? Buffer.of(short | length) : withLength(long, 2, length);

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  const head = bytes.length < 32 ? Buffer.of(0xa0 | bytes.length) : withLength(0xd9, 1, bytes.length);
  return Buffer.concat([head, bytes]);
};

export const pack = (value: Packable): Buffer => {
  if (value === null) return Buffer.of(0xc0);
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number' || typeof value === 'bigint') return integer(BigInt(value));
  if (value instanceof Float) return float(value.value);
  if (value instanceof Uint8Array) return Buffer.concat([withLength(0xc4, 1, value.length), value]);
  if (isList(value)) return Buffer.concat([headOf(value.length, 0x90, 0xdc), ...value.map(pack)]);
  const entries = Object.entries(value);
  const fields = entries.flatMap(([name, field]) => [text(name), pack(field)]);
  return Buffer.concat([headOf(entries.length, 0x80, 0xde), ...fields]);
};

const isList = (value: Packable): value is readonly Packable[] => Array.isArray(value);
