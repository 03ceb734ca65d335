import { CognitoraError } from '@cognitora/protocol/errors';
import { bodyBytesInFlightMax, bodyBytesMaxSelfHosted } from '@cognitora/protocol/limits';
import { text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { type HeldBody, readBody } from './body-budget.ts';

/** A request whose body comes in pieces, or with a length announced. */
const requestOf = (body: string | readonly string[], announcedBytes?: number): Request => {
  const headers = announcedBytes === undefined ? {} : { 'content-length': String(announcedBytes) };
  const stream =
    typeof body === 'string'
      ? body
      : new ReadableStream<Uint8Array>({
          start: (controller) => {
            for (const part of body) controller.enqueue(new TextEncoder().encode(part));
            controller.close();
          },
        });
  const init = { method: 'POST', headers, body: stream, duplex: 'half' };
  return new Request('https://edge.example/', init as RequestInit);
};

const codeOf = async (reading: Promise<HeldBody>): Promise<string> => {
  try {
    (await reading).release();
    return 'read';
  } catch (thrown) {
    return thrown instanceof CognitoraError ? thrown.code : String(thrown);
  }
};

test.each([
  ['announced', requestOf('hello', 5)],
  ['in pieces', requestOf(['he', 'l', 'lo'])],
])('a body %s is read whole', async (_, request) => {
  const { bytes, release } = await readBody(request, 5);
  expect(text(bytes)).toBe('hello');
  release();
});

test('a request without a body has an empty one', async () => {
  const { bytes, release } = await readBody(new Request('https://edge.example/', { method: 'POST' }), 5);
  expect(bytes).toHaveLength(0);
  release();
});

test.each([
  ['announced', () => requestOf('hello!', 6)],
  ['in pieces', () => requestOf(['hel', 'lo!'])],
])('a body beyond the limit is refused (%s)', async (_, make) => {
  expect(await codeOf(readBody(make(), 5))).toBe('body_too_large');
  expect(await codeOf(readBody(make(), 6))).toBe('read');
});

test('a body that breaks off is the client’s doing and holds nothing', async () => {
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new Error('gone')),
  });
  const init = { method: 'POST', body: stream, duplex: 'half' };
  const request = new Request('https://edge.example/', init as RequestInit);
  expect(await codeOf(readBody(request, 5))).toBe('client_gone');
});

const largest = (): Promise<HeldBody> =>
  readBody(requestOf('x', bodyBytesMaxSelfHosted), bodyBytesMaxSelfHosted);

test('bodies beyond the budget of all are refused until one is released; releasing twice counts once', async () => {
  const fit = bodyBytesInFlightMax / bodyBytesMaxSelfHosted;
  const held = await Promise.all(Array.from({ length: fit }, largest));
  for (const request of [requestOf('x', 1), requestOf(['x'])]) {
    const reading = readBody(request, 5);
    await expect(reading).rejects.toMatchObject({ code: 'over_budget', retryAfterSeconds: 1 });
  }
  held[0]?.release();
  held[0]?.release();
  const again = await largest();
  expect(await codeOf(readBody(requestOf('x', 1), 5))).toBe('over_budget');
  again.release();
  for (const body of held) body.release();
});

test('what was refused holds nothing of the budget', async () => {
  for (let count = 0; count < 4; count += 1) {
    expect(await codeOf(readBody(requestOf('x', bodyBytesMaxSelfHosted), 5))).toBe('body_too_large');
    expect(await codeOf(readBody(requestOf(['x'.repeat(1_000_000)]), 999_999))).toBe('body_too_large');
  }
  const held = await Promise.all([largest(), largest()]);
  for (const body of held) body.release();
});
