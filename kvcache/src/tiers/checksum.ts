/** CRC-32 of values, in pieces: a large one leaves the event loop to others between them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';

/** A third of a millisecond. */
const pieceBytes = 2 ** 20;

export const checksumOf = async (bytes: Buffer): Promise<number> => {
  let crc = 0;
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    if (at > 0) await nextTurn();
    crc = crc32(bytes.subarray(at, at + pieceBytes), crc);
  }
  return crc;
};
