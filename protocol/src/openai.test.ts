import { expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { utf8 } from './bytes.ts';
import { inferenceEndpoints, parseInferenceRequest, readInferenceRequest, scopes } from './openai.ts';

test('a request is read for what routing needs', () => {
  const body = json({ model: 'm', stream: true, messages: [], tools: [{ anything: 1 }] });
  expect(parseInferenceRequest([body])).toMatchObject({
    model: 'm',
    stream: true,
    spans: { model: [9, 12] },
  });
  expect(parseInferenceRequest([json({ model: 'm' })]).stream).toBe(false);
  expect(parseInferenceRequest([json({ model: 'm', stream: null })]).stream).toBe(false);
});

test('a body that is no JSON object is bad_json', () => {
  for (const body of ['', '{', '[]', '"x"', 'null', '{"model":"m"} x']) {
    expect(errorOf(() => parseInferenceRequest([utf8(body)]))?.code).toBe('bad_json');
  }
  expect(errorOf(() => parseInferenceRequest([new Uint8Array([0x22, 0xff, 0x22])]))?.code).toBe('bad_json');
});

test('a wrong field is invalid_request that names it', () => {
  for (const model of [undefined, null, '', 7, ['m'], 'x'.repeat(257)]) {
    expect(errorOf(() => parseInferenceRequest([json({ model })]))).toMatchObject({
      code: 'invalid_request',
      param: 'model',
    });
  }
  for (const stream of ['true', 1, {}]) {
    expect(errorOf(() => parseInferenceRequest([json({ model: 'm', stream })]))?.param).toBe('stream');
  }
});

test('a large body is read with pauses, and reads the same', async () => {
  const body = json({ text: 'a\\n"\u00e9'.repeat(3000), model: 'm', stream: true });
  const parts = Array.from({ length: Math.ceil(body.length / 1000) }, (_, at) =>
    body.slice(1000 * at, 1000 * (at + 1)),
  );
  let pauses = 0;
  const read = await readInferenceRequest(parts, async () => {
    pauses += 1;
  });
  expect(read).toEqual(parseInferenceRequest([body]));
  expect(pauses).toBeGreaterThanOrEqual(parts.length / 2 - 1);
  const broken = [...parts.slice(0, 3), utf8('\u0000'), ...parts.slice(3)];
  await expect(readInferenceRequest(broken, async () => {})).rejects.toMatchObject({ code: 'bad_json' });
});

test('every endpoint asks for a scope that exists', () => {
  for (const { scope } of Object.values(inferenceEndpoints)) expect(scopes).toContain(scope);
});
