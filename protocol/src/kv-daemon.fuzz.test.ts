/** What crosses the KV daemon's socket: what is written is read again, and what is wrong never passes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8 } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import type { NodeId } from './ids.ts';
import {
  type FromDaemon,
  isKvKey,
  kvDaemonPaths,
  kvEscaped,
  kvUnescaped,
  kvValuePath,
  parseFromDaemon,
  parseToDaemon,
  type ToDaemon,
} from './kv-daemon.ts';
import { canonicalFields, parseFetchAsk, parseKvStat, parseNamespaceAsk } from './kv-daemon-bodies.ts';

const key = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => String.fromCharCode(...bytes));
const node = fc.stringMatching(/^n[a-z2-7]{26}$/) as fc.Arbitrary<NodeId>;
const digest = fc.stringMatching(/^[0-9a-f]{16}$/);
const figure = fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0);
const address = fc.record({
  transport: fc.constantFrom('tls', 'quic'),
  host: fc.domain(),
  port: fc.integer({ min: 1, max: 65_535 }),
});
const text = fc.string({ minLength: 1, maxLength: 40 }).filter((each) => each.isWellFormed());

const toDaemon = fc.oneof(
  fc.record({
    type: fc.constant('holders'),
    ask: fc.nat(),
    holders: fc.array(fc.array(node, { maxLength: 4 }), { maxLength: 64 }),
  }),
  fc.record({
    type: fc.constant('fabric'),
    ca: text,
    certificate: text,
    peers: fc.array(
      fc.record({ node, name: text, publicKey: text, addresses: fc.array(address, { maxLength: 4 }) }),
      { maxLength: 4 },
    ),
  }),
) as fc.Arbitrary<ToDaemon>;

const fromDaemon = fc.oneof(
  fc.record({ type: fc.constant('self'), publicKey: text, addresses: fc.array(address, { maxLength: 4 }) }),
  fc.record({
    type: fc.constant('reach'),
    peers: fc.array(
      fc.record({ node, transport: fc.constantFrom('tls', 'quic'), rttMs: figure, bytesPerMs: figure }),
    ),
  }),
  fc.record({
    type: fc.constant('held'),
    isCleared: fc.boolean(),
    added: fc.array(digest),
    removed: fc.array(digest),
  }),
  fc.record({ type: fc.constant('ask'), ask: fc.nat(), digests: fc.array(digest, { maxLength: 64 }) }),
) as fc.Arbitrary<FromDaemon>;

test('a key of any bytes comes back from a path', () => {
  fc.assert(
    fc.property(key, (some) => {
      const path = kvValuePath(some);
      expect(path).toMatch(/^[\x21-\x7e]+$/);
      expect(path).not.toMatch(/[?#]/);
      expect(kvUnescaped(path.slice(kvDaemonPaths.values.length))).toBe(some);
      expect(isKvKey(some)).toBe(true);
    }),
  );
  expect(kvUnescaped('a%2')).toBeUndefined();
  expect(kvEscaped('n0:a/b')).toBe('n0:a/b');
  for (const wrong of ['', 'x'.repeat(2_049), '\u0100', 7]) expect(isKvKey(wrong)).toBe(false);
});

test('lines are read as they were written', () => {
  fc.assert(
    fc.property(toDaemon, fromDaemon, (to, from) => {
      expect(parseToDaemon(JSON.stringify(to))).toEqual(to);
      expect(parseFromDaemon(JSON.stringify(from))).toEqual(from);
    }),
  );
});

test('what is no line is a protocol error, whatever it is', () => {
  const readers = [parseToDaemon, parseFromDaemon];
  const bodies = [parseKvStat, parseFetchAsk, parseNamespaceAsk];
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.object().map((some) => JSON.stringify(some)),
      ),
      (some) => {
        const reads = [
          ...readers.map((read) => () => read(some)),
          ...bodies.map((read) => () => read(utf8(some))),
        ];
        for (const read of reads) {
          try {
            read();
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(CognitoraError);
          }
        }
      },
    ),
  );
  expect(() => parseToDaemon('{"type":"holders","ask":1,"holders":[["x"]]}')).toThrow('lists of nodes');
  const many = { type: 'ask', ask: 1, digests: Array.from({ length: 65 }, () => '0'.repeat(16)) };
  expect(() => parseFromDaemon(JSON.stringify(many))).toThrow('at most 64');
  const addresses = Array.from({ length: 9 }, () => ({ transport: 'tls', host: 'h', port: 1 }));
  const self = { type: 'self', publicKey: 'k', addresses };
  expect(() => parseFromDaemon(JSON.stringify(self))).toThrow('at most 8');
  const holders = Array.from({ length: 5 }, () => `n${'a'.repeat(26)}`);
  const told = { type: 'holders', ask: 1, holders: [holders] };
  expect(() => parseToDaemon(JSON.stringify(told))).toThrow('lists of nodes');
});

test('the canonical text of a namespace does not know in which order its fields were given', () => {
  const more = fc.dictionary(fc.string({ minLength: 1, maxLength: 6 }), fc.oneof(fc.integer(), text), {
    maxKeys: 6,
  });
  fc.assert(
    fc.property(text, text, more, fc.boolean(), (model, dtype, facts, isTurned) => {
      const entries = Object.entries(facts);
      const turned = Object.fromEntries(isTurned ? entries.toReversed() : entries);
      const one = canonicalFields({ model, dtype, more: facts });
      expect(canonicalFields({ more: turned, dtype, model })).toBe(one);
      expect(canonicalFields({ model, dtype: `${dtype}!`, more: facts })).not.toBe(one);
    }),
  );
  expect(canonicalFields({ model: 'm', blockTokens: 16, more: { b: 1, a: 'x', 10: 'y' } })).toBe(
    '{"blockTokens":16,"model":"m","more":{"10":"y","a":"x","b":1}}',
  );
  expect(canonicalFields({ model: 'm', more: {} })).toBe('{"model":"m"}');
});
