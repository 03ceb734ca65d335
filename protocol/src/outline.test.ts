import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cuts, errorOf, pieces, singleBytes } from '../testing/bytes-in-pieces.ts';
import { choices, jsonValue, type Member, trickyString, writeObject } from '../testing/json-text.ts';
import { utf8 } from './bytes.ts';
import { outlineFieldBytesMax } from './limits.ts';
import { type InferenceRequest, parseInferenceRequest } from './openai.ts';

const name = fc.oneof(
  fc.constantFrom('model', 'stream', 'stream_options', 'return_progress', 'messages'),
  trickyString,
);
const value = fc.oneof(
  fc.constantFrom(true, null, 'm', {}, { include_usage: false }, { include_usage: true, x: 1 }),
  jsonValue,
);
const members: fc.Arbitrary<Member[]> = fc
  .array(fc.tuple(name, value), { maxLength: 5 })
  .map((some) => [['model', 'first'] as const, ...some]);

interface Reading {
  readonly request?: InferenceRequest;
  readonly code?: string | undefined;
  readonly message?: string | undefined;
}

/** A path without digests, whose bodies are scanned however short they are. */
const path = '/v1/embeddings';

const read = (parts: readonly Uint8Array[]): Reading => {
  let request: InferenceRequest | undefined;
  const error = errorOf(() => {
    request = parseInferenceRequest(path, parts);
  });
  return { ...(request === undefined ? {} : { request }), code: error?.code, message: error?.message };
};

/** At least two parts, so that it is scanned. */
const scanned = (parts: readonly Uint8Array[]): readonly Uint8Array[] => [new Uint8Array(), ...parts];

test('a body in parts is read like the same in one piece', () => {
  fc.assert(
    fc.property(members, choices, cuts, fc.boolean(), (written, choose, at, isCut) => {
      const body = utf8(writeObject(written, choose));
      const bytes = isCut ? body.subarray(0, body.length - 1) : body;
      const expected = read([bytes]);
      expect(read(scanned(pieces(bytes, at)))).toEqual(expected);
      expect(read(singleBytes(bytes))).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});

test.each([
  '[]',
  'null',
  '"x"',
  '{',
  '{"model":"m"} x',
  '{"mod\\u0065l":"m"}',
  '{"model":"m","str\\u0065am":true}',
  '{"model":"m","stream":true,"stream_options":{"include_us\\u0061ge":true}}',
  '{"model":7}',
  '{"model":"m","stream":"true"}',
  '\ufeff{"model":"m"}',
])('%s is answered alike in one piece and in parts', (source) => {
  expect(read(scanned([utf8(source)]))).toEqual(read([utf8(source)]));
});

test('a member that routing reads may not be long in a large body', () => {
  const options = { x: 'x'.repeat(outlineFieldBytesMax) };
  const body = utf8(JSON.stringify({ model: 'm', stream: true, stream_options: options }));
  expect(errorOf(() => parseInferenceRequest(path, scanned([body])))).toMatchObject({
    code: 'invalid_request',
    param: 'stream_options',
  });
});
