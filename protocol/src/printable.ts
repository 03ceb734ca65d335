/**
 * Text from elsewhere as a terminal may show it: hosts, engines and edges name themselves and word their own errors.
 * Owns which characters move a cursor, colour a screen, start a line or turn the direction of writing.
 */

const moving = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** The same with each of those as `\u001b`; letters of all languages stay. */
export const printable = (text: string): string =>
  text.replaceAll(moving, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);
