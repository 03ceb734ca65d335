import { expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { digestHex } from '../testing/golden-frames.ts';
import { joinBytes } from './bytes.ts';
import {
  encodeKvDelta,
  encodeKvFeed,
  encodeKvMark,
  encodeKvSnapshot,
  encodeKvWant,
  type KvDelta,
  type KvSnapshotPart,
  parseKvDelta,
  parseKvFeed,
  parseKvMark,
  parseKvSnapshot,
  parseKvWant,
  tiers,
  trusts,
} from './kv.ts';
import { framePayloadBytesMax, kvDigestsPerMessageMax, kvFeedsPerLinkMax } from './limits.ts';
import { blindProfile, plainProfile, profileMessage } from './prefix/profile.ts';

const delta: KvDelta = { feed: 3, sequence: 9, isCleared: false, added: [], removed: [] };
const snapshot: KvSnapshotPart = { feed: 3, request: 1, sequence: 9, part: 0, isLast: true, blocks: [] };

/** A section as a peer might write it. */
const section = (kind: number, digests: number, bytes = new Uint8Array(8 * digests)): Uint8Array => {
  const head = new Uint8Array(8);
  head[0] = kind;
  new DataView(head.buffer).setUint32(4, digests);
  return joinBytes([head, bytes]);
};
const behindDelta = (...sections: readonly Uint8Array[]): Uint8Array =>
  joinBytes([encodeKvDelta(delta), ...sections]);
const behindSnapshot = (...sections: readonly Uint8Array[]): Uint8Array =>
  joinBytes([encodeKvSnapshot(snapshot), ...sections]);

const bytesUpTo = (count: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: count }, (_, at) => at);

test('a digest crosses the link as the 8 bytes that its hash begins with', () => {
  const bytes = bytesUpTo(16);
  const blocks = [{ tier: 'device', digests: new Uint32Array(bytes.buffer) }] as const;
  const payload = encodeKvDelta({ ...delta, added: blocks });
  expect(payload.slice(-16)).toEqual(bytes);
  const [read] = parseKvDelta(payload).added;
  expect(digestHex(read?.digests ?? new Uint32Array())).toEqual(['0001020304050607', '08090a0b0c0d0e0f']);
});

test('what was read stays when the payload is used for something else', () => {
  const payload = behindDelta(section(0, 1, bytesUpTo(8)));
  const { added } = parseKvDelta(payload);
  payload.fill(0xff);
  expect(digestHex(added[0]?.digests ?? new Uint32Array())).toEqual(['0001020304050607']);
});

test('a payload is read wherever it lies', () => {
  const payload = encodeKvSnapshot({
    ...snapshot,
    blocks: [{ tier: 'host', digests: Uint32Array.of(1, 2, 3, 4) }],
  });
  for (const offset of [1, 2, 3]) {
    const moved = new Uint8Array(offset + payload.length + 5).subarray(offset, offset + payload.length);
    moved.set(payload);
    expect(parseKvSnapshot(moved)).toEqual(parseKvSnapshot(payload));
  }
});

test('sections of a kind that is not known are skipped, and what stands behind them is read', () => {
  const [added, removed] = [section(0, 1, bytesUpTo(8)), section(3, 1, bytesUpTo(8))];
  const plain = parseKvDelta(behindDelta(added, removed));
  expect([plain.added.length, plain.removed.length]).toEqual([1, 1]);
  for (const kind of [4, 7, 255]) {
    expect(parseKvDelta(behindDelta(section(kind, 3), added, section(kind, 0), removed))).toEqual(plain);
  }
  expect(parseKvSnapshot(behindSnapshot(section(9, 2), added)).blocks).toEqual(plain.added);
});

test('flags and reserved bytes of a later version are not read', () => {
  for (const [encoded, flagsAt, parse] of [
    [encodeKvDelta({ ...delta, isCleared: true }), 8, parseKvDelta],
    [encodeKvDelta(delta), 8, parseKvDelta],
    [encodeKvSnapshot(snapshot), 16, parseKvSnapshot],
    [encodeKvSnapshot({ ...snapshot, isLast: false }), 16, parseKvSnapshot],
  ] as const) {
    const later = encoded.slice();
    later[flagsAt] = (later[flagsAt] ?? 0) | 0xfe;
    later.fill(0xff, flagsAt + 1, flagsAt + 4);
    expect(parse(later)).toEqual(parse(encoded));
  }
});

test('a snapshot holds no removals', () => {
  for (const kind of [2, 3]) {
    expect(errorOf(() => parseKvSnapshot(behindSnapshot(section(kind, 1))))?.code).toBe('protocol_error');
  }
});

test('a message holds so many digests and no more, whatever their sections, and fits a frame', () => {
  const most = Uint32Array.from({ length: 2 * kvDigestsPerMessageMax }, (_, at) => at);
  const halves = [most.slice(0, kvDigestsPerMessageMax), most.slice(kvDigestsPerMessageMax)];
  const full = encodeKvDelta({
    ...delta,
    added: halves.map((digests) => ({ tier: 'device', digests })),
  });
  expect(full.length).toBeLessThan(framePayloadBytesMax);
  expect(parseKvDelta(full).added.map(({ digests }) => digests)).toEqual(halves);
  for (const kind of [0, 3, 200]) {
    const tooMany = joinBytes([full, section(kind, 1)]);
    expect(errorOf(() => parseKvDelta(tooMany))?.message).toContain('more than');
  }
  expect(
    errorOf(() => parseKvSnapshot(behindSnapshot(section(0, 2 ** 32 - 1, new Uint8Array()))))?.code,
  ).toBe('protocol_error');
});

test('numbers reach to the end of their 32 bits', () => {
  const most = 2 ** 32 - 1;
  expect(parseKvMark(encodeKvMark({ feed: most, sequence: most }))).toEqual({ feed: most, sequence: most });
  expect(parseKvWant(encodeKvWant({ feed: most, request: most }))).toEqual({ feed: most, request: most });
  const part = { ...snapshot, feed: most, request: most, sequence: most, part: most };
  expect(parseKvSnapshot(encodeKvSnapshot(part))).toEqual(part);
});

test('a mark and a want have just their 8 bytes', () => {
  for (const parse of [parseKvMark, parseKvWant]) {
    for (const length of [0, 7, 9, 12]) {
      expect(errorOf(() => parse(new Uint8Array(length)))?.code).toBe('protocol_error');
    }
  }
});

const message = {
  feed: kvFeedsPerLinkMax - 1,
  replica: 'gpu0',
  model: 'qwen3-8b',
  trust: 'approximate',
  profile: profileMessage(plainProfile),
};

test('a feed opens with the profile that both ends then digest with, id and all', () => {
  const read = parseKvFeed(json(message));
  expect(read.profile).toEqual(plainProfile);
  expect(parseKvFeed(encodeKvFeed(read))).toEqual(read);
});

test('a feed of a later version is read for what this one knows', () => {
  expect(parseKvFeed(json({ ...message, shards: 4 }))).toEqual(parseKvFeed(json(message)));
  const later = { version: 2, claims: 'what this version never heard of' };
  expect(parseKvFeed(json({ ...message, profile: later })).profile).toEqual(blindProfile);
});

test('a feed that breaks a rule is a protocol error', () => {
  const wrong: readonly object[] = [
    { feed: kvFeedsPerLinkMax },
    { feed: -1 },
    { replica: '\ud800' },
    { model: 'm\udc00' },
    { replica: '' },
    { model: 'x'.repeat(257) },
    { trust: 'certain' },
    { profile: 'plain' },
    { profile: { ...message.profile, claims: 'most' } },
  ];
  for (const change of wrong) {
    expect(errorOf(() => parseKvFeed(json({ ...message, ...change })))?.code).toBe('protocol_error');
  }
});

test('trust goes from most to least, tiers from nearest to farthest', () => {
  expect([trusts, tiers]).toEqual([
    ['exact', 'approximate', 'blind'],
    ['device', 'host'],
  ]);
});
