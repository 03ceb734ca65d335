/**
 * The head of a file that lies in parts: how long each is and its checksum, so that parts of two versions are never
 * put together. Written behind all parts. Pure.
 *
 *   0 magic "CGKF" | 4 parts u32 | 8 bytes of the file f64 | 16 checksum of each part, u32 | crc32 of all before u32
 */
import { crc32 } from 'node:zlib';

/** A part is a value that any tier takes, and small enough for many to be under way. */
export const partBytes = 16 * 2 ** 20;
/** As an envelope of the agent's: a slot's state of a large model at a long context. */
export const fileBytesMax = 16 * 2 ** 30;

const magic = 0x464b4743;
const partsAt = 16;

export interface FileHead {
  readonly bytes: number;
  readonly checksums: readonly number[];
}

export const partsOf = (bytes: number): number => Math.ceil(bytes / partBytes);
export const partLength = (bytes: number, part: number): number =>
  Math.min(partBytes, bytes - part * partBytes);

export const writeHead = ({ bytes, checksums }: FileHead): Buffer => {
  const head = Buffer.alloc(partsAt + 4 * checksums.length + 4);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(checksums.length, 4);
  head.writeDoubleLE(bytes, 8);
  for (const [part, checksum] of checksums.entries()) head.writeUInt32LE(checksum, partsAt + 4 * part);
  head.writeUInt32LE(crc32(head.subarray(0, -4)), head.length - 4);
  return head;
};

/** Undefined for what is no head. */
export const readHead = (head: Buffer): FileHead | undefined => {
  if (head.length < partsAt + 4 || head.readUInt32LE(0) !== magic) return undefined;
  const parts = head.readUInt32LE(4);
  const bytes = head.readDoubleLE(8);
  const isWhole =
    head.length === partsAt + 4 * parts + 4 &&
    head.readUInt32LE(head.length - 4) === crc32(head.subarray(0, -4)) &&
    bytes > 0 &&
    bytes <= fileBytesMax &&
    partsOf(bytes) === parts;
  if (!isWhole) return undefined;
  return {
    bytes,
    checksums: Array.from({ length: parts }, (_, part) => head.readUInt32LE(partsAt + 4 * part)),
  };
};
