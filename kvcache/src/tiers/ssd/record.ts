/**
 * The bytes of one record in a segment: a page of header, then the pages that the value has in memory. All that a
 * restart needs to find a value again stands in its header; what of the value itself is whole, its checksum says when
 * it is read. Pure.
 *
 *   0 magic "CGKV" | 4 version u16 | 6 kind u16 | 8 number u64 | 16 segment u64 | 24 expires f64 (0: never)
 *   32 length u32 | 36 checksum of the value u32 | 40 key length u16 | 64 key | 4092 crc32 of all before u32
 *
 * Little-endian. The segment's number is in each header, so that bytes of an older file are never taken for a record.
 */
import { crc32 } from 'node:zlib';
import { pageBytes, pagesOf } from '../ram/extents.ts';

export const headerBytes = 4096;
export const keyBytesMax = 2048;

const magic = 0x564b4743;
const version = 3;
const keyAt = 64;
const checkAt = headerBytes - 4;

/** Only a value has more than its header. `expires` is of the value that the key has where it is read: another end. */
export type RecordKind = 'value' | 'deleted' | 'expires';
const kinds: readonly RecordKind[] = ['value', 'deleted', 'expires'];

export interface RecordHeader {
  readonly kind: RecordKind;
  /** Bytes of a key, one a character. */
  readonly key: string;
  /** Of all records of a directory: the highest of a key counts. */
  readonly number: number;
  readonly segment: number;
  readonly length: number;
  readonly checksum: number;
  readonly expiresAtMs: number | undefined;
}

/** So far does the record of a value reach: its header and its pages. */
export const recordBytes = (length: number): number => headerBytes + pagesOf(length) * pageBytes;

/** Writes all of the page. */
export const writeHeader = (page: Buffer, header: RecordHeader): void => {
  page.fill(0, 0, headerBytes);
  page.writeUInt32LE(magic, 0);
  page.writeUInt16LE(version, 4);
  page.writeUInt16LE(kinds.indexOf(header.kind), 6);
  page.writeBigUInt64LE(BigInt(header.number), 8);
  page.writeBigUInt64LE(BigInt(header.segment), 16);
  page.writeDoubleLE(header.expiresAtMs ?? 0, 24);
  page.writeUInt32LE(header.length, 32);
  page.writeUInt32LE(header.checksum, 36);
  page.writeUInt16LE(header.key.length, 40);
  page.write(header.key, keyAt, 'latin1');
  page.writeUInt32LE(crc32(page.subarray(0, checkAt)), checkAt);
};

/** Undefined for what is no header of this segment: the end of what was written, or damage. */
export const readHeader = (page: Buffer, segment: number): RecordHeader | undefined => {
  if (page.length < headerBytes || page.readUInt32LE(0) !== magic) return undefined;
  if (page.readUInt32LE(checkAt) !== crc32(page.subarray(0, checkAt))) return undefined;
  const kind = kinds[page.readUInt16LE(6)];
  const keyLength = page.readUInt16LE(40);
  const number = Number(page.readBigUInt64LE(8));
  const isOurs = page.readUInt16LE(4) === version && Number(page.readBigUInt64LE(16)) === segment;
  if (!isOurs || kind === undefined || keyLength > keyBytesMax || !Number.isSafeInteger(number))
    return undefined;
  const expiresAtMs = page.readDoubleLE(24);
  return {
    kind,
    key: page.toString('latin1', keyAt, keyAt + keyLength),
    number,
    segment,
    length: page.readUInt32LE(32),
    checksum: page.readUInt32LE(36),
    expiresAtMs: expiresAtMs > 0 ? expiresAtMs : undefined,
  };
};
