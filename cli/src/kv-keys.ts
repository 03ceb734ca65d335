/**
 * Keys as a person reads and types them. A key is any bytes, one a character; those that a terminal would not show as
 * they are stand as `%` and two hex digits, and are typed so.
 */
import { kvUnescaped } from '@cognitora/protocol/kv-daemon';
import { UserError } from './terminal.ts';

export const shownKey = (key: string): string =>
  key.replace(
    /[^\x21-\x7e]|%/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`,
  );

/** Letters beyond ASCII are their bytes in UTF-8, as another client would have sent them. */
export const typedKey = (text: string): string => {
  const key = kvUnescaped(Buffer.from(text, 'utf8').toString('latin1'));
  if (key !== undefined) return key;
  throw new UserError(`"${text}" is no key: "%" stands before two hex digits, itself as %25.`, 2);
};
