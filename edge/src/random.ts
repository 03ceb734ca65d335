/** The one place that draws random numbers: uniform ones for ties, and unguessable bytes for ids and tokens. */
import type { ResumeToken } from '@cognitora/protocol/link';

/** Uniform in [0, 1); for ties, never for secrets. */
export const systemRandom = (): number => Math.random();

/** Unguessable bytes. */
export const randomBytes = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));

/** By which one attempt's stream may be claimed over another link. */
export const newResumeToken = (): ResumeToken => {
  let hex = '';
  for (const byte of randomBytes(16)) hex += byte.toString(16).padStart(2, '0');
  return hex as ResumeToken;
};
