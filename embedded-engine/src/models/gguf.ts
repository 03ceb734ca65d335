/**
 * Writes GGUF version 3: header, key-values, tensor descriptions, aligned data. Pure bytes in, pure bytes
 * out. It reads nothing and knows no model; `tiny.ts` says what goes into the file.
 *
 *   "GGUF" | version u32 | tensors u64 | key-values u64
 *   key-value: string key | type u32 | value          string: length u64 | utf-8
 *   tensor: string name | dims u32 | dim u64 ... | type u32 | offset u64 (from the start of the data)
 *   padding to 32 | tensor data, each padded to 32
 */

export type GgufValue =
  | { readonly type: 'u32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s'; readonly value: readonly number[] };

export interface GgufTensor {
  readonly name: string;
  /** Innermost first, as in ggml: a matrix that maps `n` inputs to `m` outputs is `[n, m]`. */
  readonly dimensions: readonly number[];
  readonly values: Float32Array;
}

const alignmentBytes = 32;
const typeCodes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const tensorTypeF32 = 0;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}

function encodeValue(entry: GgufValue): Buffer {
  switch (entry.type) {
    case 'u32':
      return Buffer.concat([u32(typeCodes.u32), u32(entry.value)]);
    case 'f32': {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(entry.value);
      return Buffer.concat([u32(typeCodes.f32), bytes]);
    }
    case 'bool':
      return Buffer.concat([u32(typeCodes.bool), Buffer.from([entry.value ? 1 : 0])]);
    case 'string':
      return Buffer.concat([u32(typeCodes.string), text(entry.value)]);
    case 'strings':
      return Buffer.concat([
        u32(typeCodes.array),
        u32(typeCodes.string),
        u64(entry.value.length),
        ...entry.value.map(text),
      ]);
    case 'i32s': {
      const bytes = Buffer.alloc(4 * entry.value.length);
      for (const [at, value] of entry.value.entries()) bytes.writeInt32LE(value, 4 * at);
      return Buffer.concat([u32(typeCodes.array), u32(typeCodes.i32), u64(entry.value.length), bytes]);
    }
  }
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignmentBytes - (length % alignmentBytes)) % alignmentBytes);
}

/** Float32 bytes are little-endian in GGUF, whatever the machine. */
function tensorBytes(values: Float32Array): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (let at = 0; at < values.length; at++) bytes.writeFloatLE(values[at] ?? 0, 4 * at);
  return bytes;
}

/** The bytes of a GGUF file with these key-values (in order) and tensors (in order). */
export function encodeGguf(
  keyValues: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Buffer {
  const entries = Object.entries(keyValues);
  const head: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)];
  for (const [key, entry] of entries) head.push(text(key), encodeValue(entry));
  const body: Buffer[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    head.push(text(tensor.name), u32(tensor.dimensions.length), ...tensor.dimensions.map(u64));
    head.push(u32(tensorTypeF32), u64(offset));
    const bytes = tensorBytes(tensor.values);
    const pad = padding(bytes.length);
    body.push(bytes, pad);
    offset += bytes.length + pad.length;
  }
  const header = Buffer.concat(head);
  return Buffer.concat([header, padding(header.length), ...body]);
}
