/** The check of received bytes finds each way in which a stream can go wrong. */
import { describe, expect, it } from 'vitest';
import {
  bodyBytesOf,
  doneEvent,
  eventBytes,
  firstDifference,
  tagOf,
  writeEvent,
  writtenUs,
} from './event-script.ts';

const tag = tagOf(7);

const streamOf = (indices: readonly number[], tags: (index: number) => string = () => tag): Buffer => {
  const bytes = Buffer.alloc(bodyBytesOf(indices.length));
  for (const [position, index] of indices.entries()) {
    writeEvent(bytes, position * eventBytes, tags(index), index, 1_234_567_890_123);
  }
  bytes.set(doneEvent, indices.length * eventBytes);
  return bytes;
};

describe('the check of a stream', () => {
  it('accepts what the engine says, whenever it said it', () => {
    expect(firstDifference(streamOf([0, 1, 2]), tag, 3)).toBeUndefined();
  });

  it('reads back when an event was written', () => {
    expect(writtenUs(streamOf([0, 1]), eventBytes)).toBe(1_234_567_890_123);
  });

  it.each([
    ['lost', [0, 2, 3]],
    ['repeated', [0, 0, 1]],
    ['lost', [1, 0, 2]],
  ])('finds an event that was %s', (word, indices) => {
    expect(firstDifference(streamOf(indices), tag, 3)).toContain(word);
  });

  it('finds bytes of another stream', () => {
    const mixed = streamOf([0, 1, 2], (index) => (index === 1 ? tagOf(8) : tag));
    expect(firstDifference(mixed, tag, 3)).toContain('00000008');
  });

  it('finds a cut stream, a wrong end and a changed byte', () => {
    const whole = streamOf([0, 1, 2]);
    expect(firstDifference(whole.subarray(0, 600), tag, 3)).toContain('lost from event 2');
    expect(firstDifference(whole.subarray(0, whole.length - 1), tag, 3)).toContain('wrong end');
    whole[eventBytes + 30] = 0x21;
    expect(firstDifference(whole, tag, 3)).toContain('event 1 differs');
  });
});
