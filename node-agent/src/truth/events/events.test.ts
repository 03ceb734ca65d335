import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { type Digest, KvLedger } from '../kv-ledger.ts';
import { ConfirmedDigests } from './confirmed.ts';
import { TokenBlocks, tokenChain } from './token-blocks.ts';
import { decodeKvEvents, type KvEvent, messageBlocksMax, messageTokensMax } from './wire.ts';

const packr = new Packr({ useRecords: false });
const eventsOf = (payload: Uint8Array): readonly KvEvent[] | undefined => {
  const events = decodeKvEvents(payload);
  return events && [...events];
};
const decoded = (batch: unknown) => eventsOf(packr.pack(batch));

const stored = {
  type: 'stored',
  names: ['1', '18446744073709551615'],
  parent: undefined,
  tokens: [5, 6, 7, 8],
  blockTokens: 2,
  isPlain: true,
  place: { medium: 'GPU', group: undefined },
};

describe('events are read', () => {
  test.each([
    ['as arrays', [1.5, [['BlockStored', [1, -1], null, [5, 6, 7, 8], 2, null, 'GPU', null, [null, null]]]]],
    ['as short arrays', [1.5, [['BlockStored', [1, -1], null, [5, 6, 7, 8], 2]], 0]],
    [
      'as long arrays',
      [
        1.5,
        [['BlockStored', [1, -1], null, [5, 6, 7, 8], 2, null, 'GPU', null, null, null, 'full_attention', 7]],
      ],
    ],
    [
      'as maps in an array',
      [
        1.5,
        [
          {
            type: 'BlockStored',
            block_hashes: [1, -1],
            token_ids: [5, 6, 7, 8],
            block_size: 2,
            medium: 'GPU',
          },
        ],
      ],
    ],
    [
      'as maps in a map',
      {
        ts: 1,
        events: [{ type: 'BlockStored', block_hashes: [1, -1], token_ids: [5, 6, 7, 8], block_size: 2 }],
      },
    ],
  ])('%s', (_, batch) => {
    expect(decoded(batch)).toEqual([stored]);
  });

  test('with names of 64 bits and of 32 bytes', () => {
    const removal = ['BlockRemoved', [2n ** 63n, Buffer.alloc(32, 0xab)], 'GPU'];
    expect(decoded([1, [removal]])).toEqual([
      {
        type: 'removed',
        names: [String(2n ** 63n), 'ab'.repeat(32)],
        place: { medium: 'GPU', group: undefined },
      },
    ]);
  });

  test('with what else went into a block, and where it is', () => {
    const event = (...more: unknown[]) => decoded([1, [['BlockStored', [1], null, [5, 6], 2, ...more]]])?.[0];
    expect(event(3)).toMatchObject({ isPlain: false });
    expect(event(null, 'GPU', 'adapter')).toMatchObject({ isPlain: false });
    expect(event(null, 'GPU', null, [['salt']])).toMatchObject({ isPlain: false });
    expect(event(null, 'CPU')).toMatchObject({ isPlain: true, place: { medium: 'CPU', group: undefined } });
    expect(decoded([1, [['BlockRemoved', [1], 'CPU'], ['AllBlocksCleared']]])).toEqual([
      { type: 'removed', names: ['1'], place: { medium: 'CPU', group: undefined } },
      { type: 'cleared' },
    ]);
  });

  test.each([
    ['tokens that are objects', [{ valueOf: 1, toString: 1 }], 1],
    ['tokens that are none', [-1], 1],
    ['a half of a token', [1.5], 1],
    ['more than numbers can tell', [2n ** 60n], 1],
    ['a text', ['1'], 1],
    ['blocks of a token and a tenth', [...Array(11).keys()], 1.1],
    ['blocks without a size', [1], Number.NaN],
  ])('but for %s', (_, tokens, size) => {
    const names = Array.from({ length: Math.round(tokens.length / size) || 1 }, (_, at) => at);
    expect(decoded([1, [['BlockStored', names, null, tokens, size], ['AllBlocksCleared']]])).toEqual([
      { type: 'cleared' },
    ]);
  });

  test('and tokens that are written as 64 bits', () => {
    const bytes = packr.pack([1, [['BlockStored', [1], null, [5n], 1]]]);
    expect(eventsOf(bytes)).toMatchObject([{ tokens: [5] }]);
  });

  test('also names alone, of blocks that another place now has', () => {
    const event = ['BlockStored', [1], null, [], 0, null, 'CPU'];
    expect(decoded([1, [event]])).toMatchObject([{ names: ['1'], tokens: [], place: { medium: 'CPU' } }]);
  });

  test('as far as one message says of so many', () => {
    const removal = (count: number) => ['BlockRemoved', Array(count).fill(1)];
    expect(decoded([1, [removal(messageBlocksMax)]])).toHaveLength(1);
    for (const events of [
      [removal(messageBlocksMax), removal(1)],
      [{ type: 'BlockRemoved', block_hashes: Array(messageBlocksMax + 1).fill(1) }],
      Array(messageBlocksMax + 1).fill(7),
      [['BlockStored', [1], null, Array(messageTokensMax + 1).fill(7), messageTokensMax + 1]],
    ]) {
      expect(decoded([1, events])).toBeUndefined();
    }
  });

  test('with names of bytes as digests have', () => {
    const names = [64, 65].map((length) => Buffer.alloc(length, 0xab));
    expect(decoded([1, [['BlockRemoved', names]]])).toMatchObject([{ names: ['ab'.repeat(64)] }]);
  });

  test('and what is none is left out, whatever it is', () => {
    expect(decoded([1, [['BlockStored', [1, 'x'], null, [5, 6, 7, 8], 2], ['Other'], 7, null]])).toEqual([]);
    for (const batch of [7, null, [1], { ts: 1 }]) expect(decoded(batch)).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        eventsOf(bytes);
      }),
    );
  });
});

const store = (names: number[], tokens: number[], parent: number | null = null, ...more: unknown[]) =>
  decoded([1, [['BlockStored', names, parent, tokens, 2, ...more]]]) ?? [];
const remove = (...names: number[]) => decoded([1, [['BlockRemoved', names]]]) ?? [];

describe('token blocks', () => {
  test('are known by what they hold, from the first token on, however the engine names them', () => {
    const blocks = new TokenBlocks();
    const [first, second, third] = tokenChain([1, 2, 3, 4, 5, 6, 7], 2);
    expect(blocks.apply(store([10, 11], [1, 2, 3, 4])).held).toEqual([first, second]);
    expect(blocks.apply(store([12], [5, 6], 11)).held).toEqual([third]);
    expect(blocks.blockTokens).toBe(2);
    expect(blocks.apply(remove(11, 99))).toEqual({ isCleared: false, held: [], gone: [second] });
  });

  test('with an unknown parent, another adapter or a salt stand for nothing', () => {
    const blocks = new TokenBlocks();
    const [first = 0n] = tokenChain([1, 2], 2);
    for (const events of [
      store([5], [1, 2], 4),
      store([6], [1, 2], null, 3),
      store([7], [1, 2], null, null, 'CPU'),
    ]) {
      expect(blocks.apply(events).held).toEqual([]);
    }
    expect(blocks.holds(first)).toBe(false);
  });

  test('that came and went in one batch, or are told twice, change nothing; a batch that clears says so', () => {
    const blocks = new TokenBlocks();
    const [first = 0n, other = 0n] = [...tokenChain([1, 2], 2), ...tokenChain([3, 4], 2)];
    const nothing = { isCleared: false, held: [], gone: [] };
    expect(blocks.apply([...store([1], [1, 2]), ...remove(1)])).toEqual(nothing);
    expect(blocks.apply(store([1], [1, 2])).held).toEqual([first]);
    expect(blocks.apply(store([1], [1, 2]))).toEqual(nothing);
    expect(blocks.apply([...remove(1), ...store([3], [1, 2])])).toEqual(nothing);
    const events = [...(decoded([1, [['AllBlocksCleared']]]) ?? []), ...store([2], [3, 4])];
    expect(blocks.apply(events)).toEqual({ isCleared: true, held: [other], gone: [] });
    expect(blocks.holds(first)).toBe(false);
  });

  test('beyond the bound are not followed', () => {
    const blocks = new TokenBlocks(1);
    expect(blocks.apply(store([1, 2], [1, 2, 3, 4])).held).toHaveLength(1);
  });
});

test('a digest is claimed exactly while the engine holds a block that some prompt said it needs', () => {
  const step = fc.oneof(
    fc.record({ digest: fc.nat(4), block: fc.nat(4) }).map((pair) => ({ do: 'learn', ...pair }) as const),
    fc.nat(4).map((block) => ({ do: 'turn', block }) as const),
    fc.constant({ do: 'clear' } as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const ledger = new KvLedger();
      const engine = new Set<Digest>();
      const needed: [digest: Digest, block: Digest][] = [];
      const confirmed = new ConfirmedDigests(ledger, (block) => engine.has(block));
      for (const each of steps) {
        if (each.do === 'learn') {
          needed.push([BigInt(each.digest), BigInt(each.block)]);
          confirmed.learn(BigInt(each.digest), BigInt(each.block));
        } else if (each.do === 'clear') {
          engine.clear();
          confirmed.cleared();
        } else if (engine.delete(BigInt(each.block))) confirmed.gone(BigInt(each.block));
        else {
          engine.add(BigInt(each.block));
          confirmed.held(BigInt(each.block));
        }
        for (let digest = 0n; digest <= 4n; digest += 1n) {
          const isHeld = needed.some(([of, block]) => of === digest && engine.has(block));
          expect(ledger.has(digest)).toBe(isHeld);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('what prompts showed longest ago is no longer claimed when there is no room for it', () => {
  const ledger = new KvLedger();
  const confirmed = new ConfirmedDigests(ledger, () => true, 2);
  for (const digest of [1n, 2n, 1n, 3n]) confirmed.learn(digest, digest + 10n);
  expect([1n, 2n, 3n].filter((digest) => ledger.has(digest))).toEqual([1n, 3n]);
});
