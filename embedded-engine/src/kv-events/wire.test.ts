import { Unpackr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import type { BlockHash } from './chain.ts';
import { decodeSequence, encodePayload, encodeSequence, ReplayBuffer, replayEnd } from './wire.ts';

const unpackr = new Unpackr({ int64AsType: 'bigint', useRecords: false });
const hash = (value: bigint): BlockHash => value as BlockHash;

describe('a payload of KV events', () => {
  it("has vLLM's positional shape and keeps 64-bit names exact", () => {
    const name = hash(9_007_199_254_740_993_123n);
    const payload = encodePayload(
      [
        { type: 'stored', hashes: [name], parent: undefined, tokens: [1, 2], salt: '' },
        { type: 'stored', hashes: [hash(2n ** 62n)], parent: name, tokens: [3, 4], salt: '' },
        { type: 'removed', hashes: [name] },
        { type: 'cleared' },
      ],
      12,
      2,
    );
    expect(unpackr.unpack(payload)).toEqual([
      12,
      [
        ['BlockStored', [name], null, [1, 2], 2, null, 'GPU', null, [null]],
        ['BlockStored', [2n ** 62n], name, [3, 4], 2, null, 'GPU', null, [null]],
        ['BlockRemoved', [name], 'GPU'],
        ['AllBlocksCleared'],
      ],
    ]);
  });

  it('carries the salt with the first block of a chain, where the name depends on it', () => {
    const stored = { type: 'stored', hashes: [hash(1n), hash(2n)], tokens: [1, 2, 3, 4], salt: 's' } as const;
    const payload = encodePayload(
      [
        { ...stored, parent: undefined },
        { ...stored, parent: hash(9n) },
      ],
      12,
      2,
    );
    const [, events] = unpackr.unpack(payload) as [number, unknown[][]];
    expect(events.map((event) => event[8])).toEqual([
      [['s'], null],
      [null, null],
    ]);
  });

  it('writes a whole number of seconds as a float, as Python does', () => {
    expect(encodePayload([], 12, 16)[1]).toBe(0xcb);
  });
});

describe('the replay buffer', () => {
  const filled = (): ReplayBuffer => {
    const buffer = new ReplayBuffer(3);
    for (let at = 0; at < 5; at++) expect(buffer.add(Buffer.of(at))).toBe(at);
    return buffer;
  };
  const sequences = (first: bigint): number[] => [...filled().from(first)].map((step) => step.sequence);

  it('gives back what it still has from the asked sequence on', () => {
    expect(sequences(3n)).toEqual([3, 4]);
    expect([...filled().from(4n)]).toEqual([{ sequence: 4, payload: Buffer.of(4) }]);
  });

  it('starts at the oldest step when older ones are asked for, and is empty beyond the newest', () => {
    expect(sequences(0n)).toEqual([2, 3, 4]);
    expect(sequences(5n)).toEqual([]);
    expect(sequences(2n ** 64n - 1n)).toEqual([]);
    expect([...new ReplayBuffer(3).from(0n)]).toEqual([]);
  });
});

describe('sequence numbers', () => {
  it('are eight bytes, big end first, and -1 ends a replay', () => {
    expect(encodeSequence(258).toString('hex')).toBe('0000000000000102');
    expect(replayEnd.toString('hex')).toBe('ffffffffffffffff');
    expect(decodeSequence(encodeSequence(258))).toBe(258n);
    expect(decodeSequence(Buffer.of(1))).toBeUndefined();
  });
});
