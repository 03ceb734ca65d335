/** How the fleet names a key where the key itself is too long, or nobody's business. */
import { createHash } from 'node:crypto';

/** 16 hex: the first 8 bytes of SHA-256 over the key's bytes, one a character. */
export const keyDigest = (key: string): string =>
  createHash('sha256').update(key, 'latin1').digest('hex').slice(0, 16);
