import fc from 'fast-check';
import { expect, test } from 'vitest';
import { text } from '../testing/bytes-in-pieces.ts';
import { toBase64Url } from './bytes.ts';
import {
  certificateText,
  type Dial,
  dialScheme,
  dialText,
  enrolmentText,
  formatDial,
  nodeIdOf,
  parseDial,
  parseToken,
  tokenKinds,
  tokenRandomBytes,
  tokenTagBytes,
} from './identity.ts';
import {
  type NodeId,
  parseRegion,
  parseRequestId,
  type Region,
  type ReplicaName,
  replicaIdOf,
} from './ids.ts';

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const dial: fc.Arbitrary<Dial> = fc.record({
  node: bytesOf(32).map(nodeIdOf),
  publicKey: bytesOf(32).map(toBase64Url),
  certificate: bytesOf(32).map(toBase64Url),
  timeMs: fc.integer({ min: 0, max: 999_999_999_999_999 }),
  nonce: bytesOf(16).map(toBase64Url),
  signature: bytesOf(64).map(toBase64Url),
});

test('a dial header comes back as it was written', () => {
  fc.assert(
    fc.property(dial, (what) => {
      expect(parseDial(formatDial(what))).toEqual(what);
    }),
  );
});

test('garbage is no dial, never an exception; what parses would be written alike', () => {
  const mangled = fc.tuple(dial, fc.nat(), fc.string({ maxLength: 3 })).map(([what, at, insert]) => {
    const header = formatDial(what);
    const place = at % (header.length + 1);
    return header.slice(0, place) + insert + header.slice(place + 1);
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((rest) => dialScheme + rest),
        mangled,
      ),
      (header) => {
        const what = parseDial(header);
        if (what !== undefined) expect(parseDial(formatDial(what))).toEqual(what);
      },
    ),
    { numRuns: 1000 },
  );
  const good = formatDial(fc.sample(dial, 1)[0] as Dial);
  const parts = good.split('.');
  const missing = parts.map((_, at) => parts.with(at, '').join('.'));
  for (const wrong of [null, '', dialScheme, `${good}.x`, good.toLowerCase(), ` ${good}`, ...missing]) {
    expect(parseDial(wrong)).toBeUndefined();
  }
  expect(parseDial(parts.with(1, 'x'.repeat(1024)).join('.'))).toBeUndefined();
});

test('a node id is n and the first 130 bits of the hash', () => {
  expect(nodeIdOf(new Uint8Array(32))).toBe(`n${'a'.repeat(26)}`);
  expect(nodeIdOf(new Uint8Array(32).fill(255))).toBe(`n${'7'.repeat(26)}`);
  fc.assert(
    fc.property(bytesOf(32), (hash) => {
      expect(nodeIdOf(hash)).toMatch(/^n[a-z2-7]{26}$/);
      const changed = hash.slice();
      changed[15] = (changed[15] ?? 0) ^ 1;
      expect(nodeIdOf(changed)).not.toBe(nodeIdOf(hash));
    }),
  );
});

test('a token splits into its random part and its tag, under its own kind alone', () => {
  fc.assert(
    fc.property(bytesOf(tokenRandomBytes), bytesOf(tokenTagBytes), (random, tag) => {
      const written = toBase64Url(new Uint8Array([...random, ...tag]));
      expect(parseToken('apiKey', tokenKinds.apiKey + written)).toEqual({ random, tag });
      expect(parseToken('joinToken', tokenKinds.joinToken + written)).toEqual({ random, tag });
      expect(parseToken('apiKey', tokenKinds.joinToken + written)).toBeUndefined();
      expect(parseToken('apiKey', `${tokenKinds.apiKey}${written}A`)).toBeUndefined();
      expect(parseToken('apiKey', tokenKinds.apiKey + written.slice(1))).toBeUndefined();
    }),
  );
  fc.assert(
    fc.property(fc.string(), (garbage) => {
      expect(parseToken('apiKey', tokenKinds.apiKey + garbage)).toBeUndefined();
    }),
  );
});

test('what is signed for one purpose, edge, region, node, time or nonce is signed for no other', () => {
  const node = nodeIdOf(new Uint8Array(32));
  const base = { node, timeMs: 5, nonce: 'n'.repeat(22) };
  const origin = 'https://edge.example';
  const region = 'weur' as Region;
  const texts = [
    dialText(origin, region, base),
    dialText('https://other.example', region, base),
    dialText(origin, 'enam' as Region, base),
    dialText(origin, region, { ...base, node: nodeIdOf(new Uint8Array(32).fill(1)) }),
    dialText(origin, region, { ...base, timeMs: 6 }),
    dialText(origin, region, { ...base, nonce: 'm'.repeat(22) }),
    enrolmentText(origin, 'key'),
    certificateText(node),
  ].map(text);
  expect(new Set(texts).size).toBe(texts.length);
});

test('ids are accepted in their form and in no other', () => {
  expect(parseRequestId('req_1.2:3-4')).toBe('req_1.2:3-4');
  for (const wrong of [null, undefined, '', 'a b', 'a\n', 'é', 'a/b', 'x'.repeat(129)]) {
    expect(parseRequestId(wrong)).toBeUndefined();
  }
  expect(parseRegion('weur-2')).toBe('weur-2');
  for (const wrong of ['', '2weur', 'WEUR', 'a b', 'weur\n', 'x'.repeat(33)]) {
    expect(parseRegion(wrong)).toBeUndefined();
  }
  expect(replicaIdOf('n1' as NodeId, 'gpu0' as ReplicaName)).toBe('n1/gpu0');
});
