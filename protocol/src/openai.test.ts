import { expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { utf8 } from './bytes.ts';
import { prefixBodyBytesMax } from './limits.ts';
import {
  type InferencePath,
  inferenceEndpoints,
  parseInferenceRequest,
  readInferenceRequest,
  scopes,
} from './openai.ts';

const chat = '/v1/chat/completions';

test('a request is read for what routing needs', () => {
  const body = json({ model: 'm', stream: true, messages: [], tools: [{ anything: 1 }] });
  expect(parseInferenceRequest(chat, [body])).toMatchObject({
    model: 'm',
    stream: true,
    spans: { model: [9, 12] },
  });
  expect(parseInferenceRequest(chat, [json({ model: 'm' })]).stream).toBe(false);
  expect(parseInferenceRequest(chat, [json({ model: 'm', stream: null })]).stream).toBe(false);
});

test('a body that is no JSON object is bad_json', () => {
  for (const body of ['', '{', '[]', '"x"', 'null', '{"model":"m"} x']) {
    expect(errorOf(() => parseInferenceRequest(chat, [utf8(body)]))?.code).toBe('bad_json');
  }
  expect(errorOf(() => parseInferenceRequest(chat, [new Uint8Array([0x22, 0xff, 0x22])]))?.code).toBe(
    'bad_json',
  );
});

test('a wrong field is invalid_request that names it', () => {
  for (const model of [undefined, null, '', 7, ['m'], 'x'.repeat(257)]) {
    expect(errorOf(() => parseInferenceRequest(chat, [json({ model })]))).toMatchObject({
      code: 'invalid_request',
      param: 'model',
    });
  }
  for (const stream of ['true', 1, {}]) {
    expect(errorOf(() => parseInferenceRequest(chat, [json({ model: 'm', stream })]))?.param).toBe('stream');
  }
});

/** Cut as a body is read. */
const inParts = (body: Uint8Array, partBytes: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(body.length / partBytes) }, (_, at) =>
    body.slice(partBytes * at, partBytes * (at + 1)),
  );

/** Reads in turns, and says how often it paused. */
const readInTurns = async (path: InferencePath, parts: readonly Uint8Array[]) => {
  let pauses = 0;
  const request = await readInferenceRequest(path, parts, async () => {
    pauses += 1;
  });
  return { request, pauses };
};

test.each([
  ['above the bound of digests', chat, prefixBodyBytesMax + 1],
  ['without digests', '/v1/embeddings', 20_000],
] as const)(
  'a body %s is read with pauses, and reads the same but for its objects',
  async (_, path, bytes) => {
    const empty = json({ text: '', model: 'm', stream: true });
    const body = json({ text: 'a'.repeat(bytes - empty.length), model: 'm', stream: true });
    const parts = inParts(body, Math.ceil(bytes / 20));
    const { request, pauses } = await readInTurns(path, parts);
    expect(request).toEqual({ ...parseInferenceRequest(chat, [body]), body: undefined });
    expect(pauses).toBe(10);
    const broken = [...parts.slice(0, 3), utf8('\u0000'), ...parts.slice(3)];
    await expect(readInferenceRequest(path, broken, async () => {})).rejects.toMatchObject({
      code: 'bad_json',
    });
  },
);

test.each([chat, '/v1/completions'] as const)('a body of %s is handed on as JSON reads it', async (path) => {
  const value = { model: 'm', messages: [{ role: 'user', content: 'é 😀 \\ "' }], n: 1e21, x: null };
  const source = json(value);
  for (const parts of [[source], inParts(source, 7), [new Uint8Array(), source]]) {
    expect(parseInferenceRequest(path, parts).body).toEqual(value);
    expect((await readInTurns(path, parts)).request).toEqual(parseInferenceRequest(path, [source]));
  }
});

test('a member that stands twice is the last one, in the whole as in the parts of it', () => {
  const source =
    '{"model":"a","messages":[1],"model":"b","messages":[{"role":"user","role":"tool"}],"messages":[2]}';
  for (const parts of [[utf8(source)], inParts(utf8(source), 5)]) {
    const { model, spans, body } = parseInferenceRequest(chat, parts);
    expect(model).toBe('b');
    expect(source.slice(...spans.model)).toBe('"b"');
    expect(body).toEqual(JSON.parse(source));
    expect(body?.messages).toEqual([2]);
  }
});

test('a body as long as the bound is handed on, one byte more is not, and one without digests never', () => {
  const ofBytes = (bytes: number): Uint8Array[] => {
    const rest = json({ model: 'm', prompt: '' }).length;
    return inParts(json({ model: 'm', prompt: 'x'.repeat(bytes - rest) }), 65_536);
  };
  expect(parseInferenceRequest(chat, ofBytes(prefixBodyBytesMax)).body?.model).toBe('m');
  expect(parseInferenceRequest(chat, ofBytes(prefixBodyBytesMax + 1)).body).toBeUndefined();
  for (const parts of [ofBytes(100), ofBytes(100_000)]) {
    expect(parseInferenceRequest('/v1/embeddings', parts)).toEqual({
      ...parseInferenceRequest(chat, parts),
      body: undefined,
    });
  }
});

test('every endpoint asks for a scope that exists', () => {
  for (const { scope } of Object.values(inferenceEndpoints)) expect(scopes).toContain(scope);
});
