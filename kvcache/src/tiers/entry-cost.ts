/**
 * What a key and its entry take on V8's heap beside the value: counted, so that many small values under long keys
 * grow nothing. Measured 2026-11-26 (Node 24, 40,000 to 200,000 keys of 16 to 2,000 bytes, all with an end), beyond the
 * bytes of the key: in memory 255 to 278, on the disk 193 to 217, a ghost 45 to 69. Pure.
 */

/** Of the memory for values; what memory's keys and entries take comes on top of it. */
const heapShare = 1 / 8;

const ramEntryBytes = (key: string): number => 320 + key.length;

export const diskEntryBytes = (key: string): number => 256 + key.length;

/** What a value uses of memory's budget: its pages or its key's part of the heap's share, whichever is more. */
export const chargedBytes = (key: string, pagesBytes: number): number =>
  Math.max(pagesBytes, ramEntryBytes(key) / heapShare);
