import { expect, test } from 'vitest';
import { Incoming, wordsBytesMax } from './incoming.ts';
import type { NewValue } from './store.ts';

const mebibyte = 2 ** 20;

const sender = () => {
  const one = { bytesRead: 0, isCut: false, destroy: () => (one.isCut = true) };
  return one;
};

const roomOf = (bytes: number): NewValue => {
  const pages = Buffer.alloc(bytes);
  return { bytes: pages, pages, commit: () => {}, abort: () => {} };
};

const looks = (incoming: Incoming, count: number): void => {
  for (let look = 0; look < count; look += 1) incoming.look();
};

test('values under way have a quarter of memory together, and one alone what it needs', () => {
  const incoming = new Incoming(8 * mebibyte);
  expect(incoming.hasRoomFor(6 * mebibyte)).toBe(true);
  const first = incoming.watched(roomOf(mebibyte), sender());
  expect(incoming.hasRoomFor(mebibyte)).toBe(true);
  expect(incoming.hasRoomFor(mebibyte + 1)).toBe(false);
  const second = incoming.watched(roomOf(mebibyte), sender());
  expect(incoming.hasRoomFor(1)).toBe(false);
  first.commit();
  expect(incoming.hasRoomFor(mebibyte)).toBe(true);
  second.abort();
  expect(incoming.hasRoomFor(6 * mebibyte)).toBe(true);
});

test('who sends a value slower than a megabyte a second is cut, and nobody else', () => {
  const incoming = new Incoming(64 * mebibyte);
  const [slow, quick, done] = [sender(), sender(), sender()];
  for (const one of [slow, quick]) incoming.watched(roomOf(mebibyte), one);
  incoming.watched(roomOf(mebibyte), done).commit();
  looks(incoming, 9);
  slow.bytesRead = 10 * mebibyte - 1;
  quick.bytesRead = 10 * mebibyte;
  expect(slow.isCut).toBe(false);
  looks(incoming, 1);
  expect([slow, quick, done].map(({ isCut }) => isCut)).toEqual([true, false, false]);
  looks(incoming, 10);
  expect(quick.isCut).toBe(true);
});

test('words of all clients have a bound together, and are to come as quickly', () => {
  const incoming = new Incoming(mebibyte);
  const slow = sender();
  const giveBack = incoming.keepWords(wordsBytesMax - 1, slow);
  expect(incoming.keepWords(2, sender())).toBeUndefined();
  looks(incoming, 10);
  expect(slow.isCut).toBe(true);
  giveBack?.();
  expect(incoming.keepWords(wordsBytesMax, sender())).toBeDefined();
});
