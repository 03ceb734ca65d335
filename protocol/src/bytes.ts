/**
 * Small byte helpers that both ends share: UTF-8, base64url, base32, joining. Pure; runs in workerd and in Node.
 */

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** Decodes UTF-8; throws a TypeError on malformed input. */
export const fromUtf8 = (bytes: Uint8Array): string => strictDecoder.decode(bytes);

/** One array from many; the single-part case copies nothing. */
export const joinBytes = (parts: readonly Uint8Array[]): Uint8Array => {
  const first = parts[0];
  if (first !== undefined && parts.length === 1) return first;
  let total = 0;
  for (const part of parts) total += part.length;
  const joined = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
};

/** Where `needle` next stands, at or after `from`; -1 where nowhere. A plain search, for a few hundred bytes. */
export const findBytes = (bytes: Uint8Array, needle: Uint8Array, from = 0): number => {
  const first = needle[0] ?? 0;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    let same = 1;
    while (same < needle.length && bytes[at + same] === needle[same]) same += 1;
    if (same === needle.length) return at;
  }
  return -1;
};

export const sameBytes = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && left.every((byte, at) => byte === right[at]);

export const toBase64Url = (bytes: Uint8Array): string => {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

/** Decodes base64url without padding; undefined when the text is not that, or not the one way to write these bytes. */
export const fromBase64Url = (text: string): Uint8Array | undefined => {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return toBase64Url(bytes) === text ? bytes : undefined;
};

const base32Alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** Lower-case RFC 4648 base32 without padding, cut to `chars` characters. */
export const toBase32 = (bytes: Uint8Array, chars: number): string => {
  let text = '';
  let held = 0;
  let heldBits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    heldBits += 8;
    while (heldBits >= 5 && text.length < chars) {
      heldBits -= 5;
      text += base32Alphabet[(held >>> heldBits) & 31];
    }
    held &= 0xff;
  }
  const hasRest = heldBits > 0 && text.length < chars;
  return hasRest ? text + base32Alphabet[(held << (5 - heldBits)) & 31] : text;
};
