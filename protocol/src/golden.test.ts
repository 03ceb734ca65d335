import { readFileSync } from 'node:fs';
import { hash, keyedHash } from 'blake3-wasm';
import { expect, test } from 'vitest';
import { decodeAll, text } from '../testing/bytes-in-pieces.ts';
import { codecs, digestHex, encodeFrame, type GoldenFrame } from '../testing/golden-frames.ts';
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
import { prefixBlocksMax } from './limits.ts';
import { versionMax } from './link.ts';
import type { InferencePath } from './openai.ts';
import { hashHex } from './prefix/blake3.ts';
import { canonicalBytes } from './prefix/canonical.ts';
import { prefixChain, rootKey } from './prefix/chain.ts';
import { parseProfile } from './prefix/profile.ts';
import type { JsonRecord } from './shape.ts';

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

interface GoldenPrompt {
  readonly name: string;
  readonly profile: string;
  readonly path: InferencePath;
  readonly body: JsonRecord;
  readonly rootHex: string;
  readonly canonical: string;
  readonly digests: readonly string[];
}

interface GoldenPrompts {
  readonly salt: string;
  readonly model: string;
  readonly blockBytes: number;
  readonly profiles: Readonly<Record<string, { readonly id: string; readonly message: JsonRecord }>>;
  readonly cases: readonly GoldenPrompt[];
}

const prompts = golden('prefix-v1.json') as GoldenPrompts;

test.each(prompts.cases)('a prompt has these bytes, this root and these digests: $name', (prompt) => {
  const { salt, model, blockBytes, profiles } = prompts;
  const { path, body } = prompt;
  const { id, message } = profiles[prompt.profile] ?? { id: '', message: {} };
  const profile = parseProfile(message);
  expect(profile.id).toBe(id);
  const bytes = canonicalBytes({ path, body }, profile, blockBytes * prefixBlocksMax);
  expect(Buffer.from(bytes).toString('latin1')).toBe(prompt.canonical);
  const root = rootKey({ salt, model, profile });
  expect(hashHex(root)).toBe(prompt.rootHex);
  const chain = prefixChain({ path, body }, { root, profile, blockBytes, blocksMax: prefixBlocksMax });
  expect(digestHex(chain.digests)).toEqual(prompt.digests);
});

test.each(prompts.cases)('another library comes to the same as the page says: $name', (prompt) => {
  const { salt, model, blockBytes, profiles } = prompts;
  const { canonical } = prompt;
  const { id } = profiles[prompt.profile] ?? { id: '' };
  const texts = ['cognitora prefix v1', salt, id, model];
  const root = hash(texts.map((part) => `${Buffer.byteLength(part)}:${part}`).join(''));
  expect(root.toString('hex')).toBe(prompt.rootHex);
  const bytes = Buffer.from(canonical, 'latin1');
  let key = root as Buffer;
  const digests: string[] = [];
  for (let end = blockBytes; end <= bytes.length; end += blockBytes) {
    key = keyedHash(key, bytes.subarray(end - blockBytes, end)) as Buffer;
    digests.push(key.subarray(0, 8).toString('hex'));
  }
  expect(digests).toEqual(prompt.digests);
});
