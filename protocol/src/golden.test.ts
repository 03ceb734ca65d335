import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeAll, text } from '../testing/bytes-in-pieces.ts';
import { codecs, encodeFrame, type GoldenFrame } from '../testing/golden-frames.ts';
import { fromBase64Url } from './bytes.ts';
import { FrameDecoder, frameTypes } from './frame.ts';
import {
  certificateText,
  type Dial,
  dialText,
  enrolmentText,
  formatDial,
  nodeIdOf,
  parseDial,
} from './identity.ts';
import type { Region } from './ids.ts';
import { versionMax } from './link.ts';

// A changed vector means a changed protocol version: agents that are out there speak the old bytes. Raise `versionMax`,
// keep the old file with a test of its own, and add a new one. New vectors may be added at any time.
const golden = (file: string) =>
  JSON.parse(readFileSync(new URL(`../golden/${file}`, import.meta.url), 'utf8'));
const { vectors } = golden('link-v1.json') as { vectors: (GoldenFrame & { readonly hex: string })[] };

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test.each(vectors)('$name encodes to its bytes', (vector) => {
  expect(hexOf(encodeFrame(vector))).toBe(vector.hex);
});

test.each(vectors)('$name decodes from its bytes', ({ type, flags, stream, sequence, payload, hex }) => {
  const [frame, ...rest] = decodeAll([Buffer.from(hex, 'hex')], new FrameDecoder(sequence));
  expect(rest).toEqual([]);
  expect(frame).toMatchObject({ type: frameTypes[type], flags, stream });
  expect(codecs[type].decode(frame?.payload ?? new Uint8Array())).toEqual(payload);
});

test('all vectors in order are one link', () => {
  const whole = Buffer.from(vectors.map(({ hex }) => hex).join(''), 'hex');
  expect(decodeAll([whole])).toHaveLength(vectors.length);
});

test('every frame type of this version has a vector', () => {
  expect(new Set(vectors.map(({ type }) => type))).toEqual(new Set(Object.keys(frameTypes)));
  expect(versionMax).toBe(1);
});

interface GoldenIdentity {
  readonly publicKey: string;
  readonly publicKeySha256Hex: string;
  readonly node: string;
  readonly origin: string;
  readonly region: Region;
  readonly enrolmentText: string;
  readonly enrolmentSignature: string;
  readonly certificateText: string;
  readonly dial: Dial;
  readonly dialText: string;
  readonly dialHeader: string;
}

test('a node is named, enrols and dials with these bytes', async () => {
  const identity = golden('identity-v1.json') as GoldenIdentity;
  const { publicKey, origin, region, dial } = identity;
  const raw = Uint8Array.from(fromBase64Url(publicKey) ?? []);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', raw));
  expect(hexOf(hash)).toBe(identity.publicKeySha256Hex);
  expect(nodeIdOf(hash)).toBe(identity.node);
  expect(text(enrolmentText(origin, publicKey))).toBe(identity.enrolmentText);
  expect(text(certificateText(dial.node))).toBe(identity.certificateText);
  expect(text(dialText(origin, region, dial))).toBe(identity.dialText);
  expect(formatDial(dial)).toBe(identity.dialHeader);
  expect(parseDial(identity.dialHeader)).toEqual(dial);
  const key = await crypto.subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify']);
  for (const [signature, signed] of [
    [dial.signature, identity.dialText],
    [identity.enrolmentSignature, identity.enrolmentText],
  ] as const) {
    const bytes = Uint8Array.from(fromBase64Url(signature) ?? []);
    expect(await crypto.subtle.verify('Ed25519', key, bytes, new TextEncoder().encode(signed))).toBe(true);
  }
});
