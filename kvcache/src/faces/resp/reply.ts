/**
 * Replies of the Redis protocol, in the version that a client asked for (`HELLO`). A value's own bytes are never
 * copied: a reply is pieces, which the socket sends one behind the other. Pure.
 */
import { valueAt } from '../../tiers/ram/extents.ts';

export type Version = 2 | 3;

export type Reply =
  | { readonly kind: 'simple'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'bulk'; readonly bytes: Buffer }
  /** Of what `encodedIn` made. */
  | { readonly kind: 'encoded'; readonly bytes: Buffer }
  | { readonly kind: 'null' }
  | { readonly kind: 'array'; readonly items: readonly Reply[] }
  /** Pairs in a row; an array for a client of version 2. */
  | { readonly kind: 'map'; readonly items: readonly Reply[] };

/** An array of so many items that come some at a time, so that no more of them are held; undefined after the last. */
export interface Pieces {
  readonly kind: 'pieces';
  readonly length: number;
  readonly next: () => Promise<readonly Reply[] | undefined>;
}

export const ok: Reply = { kind: 'simple', text: 'OK' };
export const none: Reply = { kind: 'null' };
export const integer = (value: number): Reply => ({ kind: 'integer', value });
export const text = (words: string): Reply => ({ kind: 'bulk', bytes: Buffer.from(words) });
export const array = (items: readonly Reply[]): Reply => ({ kind: 'array', items });
/** A line, whatever it quotes. */
export const failure = (words: string): Reply => ({ kind: 'error', text: words.replace(/[\r\n]+/g, ' ') });

const end = Buffer.from('\r\n');

/**
 * A value as a bulk string, where it lies: what belongs around it is written into its margins, the same by each
 * connection, so that it is sent as one piece.
 */
export const encodedIn = (pages: Buffer, length: number): Buffer => {
  const head = `$${length}\r\n`;
  const from = valueAt - head.length;
  pages.write(head, from, 'latin1');
  end.copy(pages, valueAt + length);
  return pages.subarray(from, valueAt + length + end.length);
};

/** Calls `write` with each piece. */
export const writeReply = (reply: Reply, version: Version, write: (piece: string | Buffer) => void): void => {
  switch (reply.kind) {
    case 'simple':
      write(`+${reply.text}\r\n`);
      break;
    case 'error':
      write(`-${reply.text}\r\n`);
      break;
    case 'integer':
      write(`:${reply.value}\r\n`);
      break;
    case 'null':
      write(version === 3 ? '_\r\n' : '$-1\r\n');
      break;
    case 'bulk':
      write(`$${reply.bytes.length}\r\n`);
      write(reply.bytes);
      write(end);
      break;
    case 'encoded':
      write(reply.bytes);
      break;
    case 'array':
    case 'map': {
      const { items } = reply;
      write(reply.kind === 'map' && version === 3 ? `%${items.length / 2}\r\n` : `*${items.length}\r\n`);
      for (const item of items) writeReply(item, version, write);
    }
  }
};
