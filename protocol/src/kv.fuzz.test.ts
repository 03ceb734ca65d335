import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digests, name, outcome, type Sent, sentBy, word } from '../testing/sent-messages.ts';
import type { ReplicaName } from './ids.ts';
import {
  encodeKvDelta,
  encodeKvFeed,
  encodeKvMark,
  encodeKvSnapshot,
  encodeKvWant,
  type KvBlocks,
  parseKvDelta,
  parseKvFeed,
  parseKvMark,
  parseKvSnapshot,
  parseKvWant,
  tiers,
  trusts,
} from './kv.ts';
import { kvFeedsPerLinkMax } from './limits.ts';
import { profileOf } from './prefix/profile.ts';
import { someFacts } from './prefix/testing/some-facts.ts';

const blocks: fc.Arbitrary<KvBlocks[]> = fc.array(
  fc.record({
    tier: fc.constantFrom(...tiers),
    digests: digests(4),
  }),
  { maxLength: 4 },
);

const binary: fc.Arbitrary<Sent> = fc.oneof(
  fc
    .record({ feed: word, sequence: word, isCleared: fc.boolean(), added: blocks, removed: blocks })
    .map(sentBy(encodeKvDelta, parseKvDelta, 12)),
  fc
    .record({ feed: word, request: word, sequence: word, part: word, isLast: fc.boolean(), blocks })
    .map(sentBy(encodeKvSnapshot, parseKvSnapshot, 20)),
  fc.record({ feed: word, sequence: word }).map(sentBy(encodeKvMark, parseKvMark)),
  fc.record({ feed: word, request: word }).map(sentBy(encodeKvWant, parseKvWant)),
);
const feed: fc.Arbitrary<Sent> = fc
  .record({
    feed: fc.nat({ max: kvFeedsPerLinkMax - 1 }),
    replica: name.map((text) => text as ReplicaName),
    model: name,
    trust: fc.constantFrom(...trusts),
    profile: someFacts.map(profileOf),
  })
  .map(sentBy(encodeKvFeed, parseKvFeed));
const anySent = fc.oneof({ weight: 4, arbitrary: binary }, { weight: 1, arbitrary: feed });

test('any message comes out as it went in', () => {
  fc.assert(
    fc.property(anySent, ({ message, bytes, parse }) => {
      expect(parse(bytes)).toEqual(message);
    }),
    { numRuns: 400 },
  );
});

/** The lengths at which a message may end: with its head, and with each section. */
const endsOf = ({ bytes, headBytes }: Sent): Set<number> => {
  if (headBytes === undefined) return new Set();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const ends = [headBytes];
  for (let at = headBytes; at < bytes.length; ends.push(at)) at += 8 + 8 * view.getUint32(at + 4);
  return new Set(ends);
};

test('a message that is cut anywhere is refused, but for one that ends with a section', () => {
  fc.assert(
    fc.property(anySent, (sent) => {
      const { bytes, parse } = sent;
      const ends = endsOf(sent);
      const lengths = [...bytes.keys()];
      const read = lengths.map((length) => outcome(() => parse(bytes.subarray(0, length))));
      expect(read).toEqual(lengths.map((length) => (ends.has(length) ? 'read' : 'protocol_error')));
    }),
    { numRuns: 100 },
  );
});

test('a message with any byte changed is read or refused, and nothing else happens', () => {
  fc.assert(
    fc.property(anySent, fc.integer({ min: 1, max: 255 }), ({ bytes, parse }, flip) => {
      // Throws what is neither.
      for (const [at, byte] of bytes.entries()) outcome(() => parse(bytes.with(at, byte ^ flip)));
    }),
    { numRuns: 100 },
  );
});

test('any bytes are read or refused by each parser', () => {
  const parsers = [parseKvDelta, parseKvFeed, parseKvMark, parseKvSnapshot, parseKvWant];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      for (const parse of parsers) outcome(() => parse(bytes));
    }),
    { numRuns: 500 },
  );
});
