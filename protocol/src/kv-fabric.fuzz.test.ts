import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digests, name, outcome, sentBy, word } from '../testing/sent-messages.ts';
import { toBase64Url } from './bytes.ts';
import { nodeIdOf } from './identity.ts';
import type { NodeId, ReplicaName } from './ids.ts';
import { peerTransports } from './kv-daemon.ts';
import {
  bytesPerMsMax,
  encodeKvAsk,
  encodeKvFabric,
  encodeKvHeld,
  encodeKvHolders,
  encodeKvPeer,
  parseKvAsk,
  parseKvFabric,
  parseKvHeld,
  parseKvHolders,
  parseKvPeer,
  peerRttMsMax,
} from './kv-fabric.ts';
import { kvAskDigestsMax } from './limits.ts';

const node: fc.Arbitrary<NodeId> = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(nodeIdOf);
const publicKey = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toBase64Url);
const figure = (min: number, max: number): fc.Arbitrary<number> =>
  // Minus zero is zero in JSON.
  fc.double({ min, max, noNaN: true }).map((value) => value + 0);
const addresses = fc.array(
  fc.record({
    transport: fc.constantFrom(...peerTransports),
    host: fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
    port: fc.integer({ min: 1, max: 65_535 }),
  }),
  { maxLength: 3 },
);

const reach = fc.record({
  node,
  transport: fc.constantFrom(...peerTransports),
  rttMs: figure(0, peerRttMsMax),
  bytesPerMs: figure(0, bytesPerMsMax),
});
const mover = fc.record({
  name: name.map((text) => text as ReplicaName),
  namespace: name,
  bytesPerToken: figure(1, 2 ** 30),
  insertBytesPerMs: figure(1, bytesPerMsMax),
});
const peer = fc
  .record({
    publicKey,
    addresses,
    reach: fc.array(reach, { maxLength: 3 }),
    replicas: fc.array(mover, { maxLength: 3 }),
  })
  .map(sentBy(encodeKvPeer, parseKvPeer));
const fabric = fc
  .record({
    ca: name,
    certificate: name,
    peers: fc.array(fc.record({ node, name, publicKey, addresses }), { maxLength: 3 }),
  })
  .map(sentBy(encodeKvFabric, parseKvFabric));
const holders = fc
  .array(node, { maxLength: 5 })
  .chain((nodes) =>
    fc.record({
      ask: word,
      nodes: fc.constant(nodes),
      holders: fc.array(fc.subarray([...nodes.keys()], { maxLength: Math.min(4, nodes.length) }), {
        maxLength: 4,
      }),
    }),
  )
  .map(sentBy(encodeKvHolders, parseKvHolders));
const held = fc
  .record({ isCleared: fc.boolean(), added: digests(6), removed: digests(6) })
  .map(sentBy(encodeKvHeld, parseKvHeld));
const ask = fc.record({ ask: word, digests: digests(8) }).map(sentBy(encodeKvAsk, parseKvAsk));
const anySent = fc.oneof(peer, fabric, holders, held, ask);

test('any message comes out as it went in', () => {
  fc.assert(
    fc.property(anySent, ({ message, bytes, parse }) => {
      expect(parse(bytes)).toEqual(message);
    }),
    { numRuns: 400 },
  );
});

test('a message that is cut anywhere is refused, but for an ask that ends with a digest', () => {
  fc.assert(
    fc.property(anySent, ({ bytes, parse }) => {
      for (const length of bytes.keys()) {
        const isWhole = parse === parseKvAsk && length % 8 === 4;
        expect([length, outcome(() => parse(bytes.subarray(0, length)))]).toEqual([
          length,
          isWhole ? 'read' : 'protocol_error',
        ]);
      }
    }),
    { numRuns: 100 },
  );
});

test('a message with any byte changed, and any bytes at all, are read or refused, and nothing else happens', () => {
  fc.assert(
    fc.property(anySent, fc.integer({ min: 1, max: 255 }), ({ bytes, parse }, flip) => {
      for (const [at, byte] of bytes.entries()) outcome(() => parse(bytes.with(at, byte ^ flip)));
    }),
    { numRuns: 100 },
  );
  const parsers = [parseKvPeer, parseKvFabric, parseKvHolders, parseKvHeld, parseKvAsk];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      for (const parse of parsers) outcome(() => parse(bytes));
    }),
    { numRuns: 500 },
  );
});

test('lists are as long as they may be, and no longer', () => {
  const held = (added: number, removed: number): Uint8Array =>
    encodeKvHeld({
      isCleared: false,
      added: new Uint32Array(2 * added),
      removed: new Uint32Array(2 * removed),
    });
  expect(outcome(() => parseKvHeld(held(8_192, 8_192)))).toBe('read');
  expect(outcome(() => parseKvHeld(held(8_192, 8_193)))).toBe('protocol_error');
  const ask = (digests: number): Uint8Array => encodeKvAsk({ ask: 1, digests: new Uint32Array(2 * digests) });
  expect(outcome(() => parseKvAsk(ask(kvAskDigestsMax)))).toBe('read');
  expect(outcome(() => parseKvAsk(ask(kvAskDigestsMax + 1)))).toBe('protocol_error');
});
