import { CognitoraError } from '@cognitora/protocol/errors';
import {
  bodyBytesInFlightMaxSelfHosted,
  bodyBytesMaxSelfHosted,
  bodyPartBytes,
  replayBytesMax,
  uploadBytesPerSecondMin,
  uploadPatienceMs,
  uploadYieldMs,
} from '@cognitora/protocol/limits';
import { text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { installFixedLengthStream } from '../testing/fixed-length-stream.ts';
import { type HeldBody, readBody, readSmallBody } from './body-budget.ts';

beforeAll(installFixedLengthStream);

const bounds = (bytesMax: number) => ({
  ...{ bytesMax, bytesInFlightMax: bodyBytesInFlightMaxSelfHosted, bytesKeptMax: 0 },
});

/** A request whose body is what `start` puts into its stream, with a length announced or not. */
const requestWith = (
  start: (controller: ReadableByteStreamController) => void,
  announcedBytes?: number,
  pull?: (controller: ReadableByteStreamController) => void,
): Request => {
  const headers = announcedBytes === undefined ? {} : { 'content-length': String(announcedBytes) };
  const source = { type: 'bytes', start, ...(pull === undefined ? {} : { pull }) } as UnderlyingByteSource;
  const body = new ReadableStream(source);
  return new Request('https://edge.example/', {
    method: 'POST',
    headers,
    body,
    duplex: 'half',
  } as RequestInit);
};

const requestOf = (parts: readonly string[], announcedBytes?: number): Request =>
  requestWith((controller) => {
    for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
    controller.close();
  }, announcedBytes);

/** As many bytes as asked, in pieces as they are asked for. */
const requestOfBytes = (bytes: number): Request => {
  let left = bytes;
  return requestWith(
    () => {},
    bytes,
    (controller) => {
      const piece = new Uint8Array(Math.min(left, 1024 * 1024)).fill(0x20);
      left -= piece.length;
      controller.enqueue(piece);
      if (left === 0) controller.close();
    },
  );
};

const codeOf = async (reading: Promise<HeldBody>): Promise<string> => {
  try {
    (await reading).release();
    return 'read';
  } catch (thrown) {
    return thrown instanceof CognitoraError ? thrown.code : String(thrown);
  }
};

const isRoomFor = async (bytes: number): Promise<boolean> =>
  (await codeOf(readBody(requestOfBytes(bytes), bounds(bytes)))) === 'read';

/** At the end of each test nothing may be left in the budget. */
const expectAllRoom = async (): Promise<void> => {
  const half = bodyBytesInFlightMaxSelfHosted / 2;
  const body = await readBody(requestOfBytes(half), bounds(half));
  expect(await isRoomFor(half)).toBe(true);
  body.release();
};

const bytesOf = async (sent: Uint8Array | ReadableStream<Uint8Array>): Promise<Uint8Array> =>
  new Uint8Array(await new Response(sent).arrayBuffer());

test.each([
  ['announced', requestOf(['hello'], 5)],
  ['announced, in pieces', requestOf(['he', 'llo'], 5)],
  ['in pieces', requestOf(['he', 'l', 'lo'])],
])('a body %s is read whole', async (_, request) => {
  expect(text(await readSmallBody(request, bounds(5)))).toBe('hello');
});

test('a request without a body has an empty one', async () => {
  const body = await readBody(new Request('https://edge.example/', { method: 'POST' }), bounds(5));
  expect([body.byteLength, body.toSend()]).toEqual([0, new Uint8Array()]);
  body.release();
});

test.each([
  ['announced', (bytes: string) => requestOf([bytes], bytes.length)],
  ['in pieces', (bytes: string) => requestOf([bytes.slice(0, 3), bytes.slice(3)])],
])('a body beyond the limit is refused (%s)', async (_, make) => {
  expect(await codeOf(readBody(make('hello!'), bounds(5)))).toBe('body_too_large');
  expect(await codeOf(readBody(make('hello!'), bounds(6)))).toBe('read');
});

test.each([
  ['breaks off', requestWith((controller) => controller.error(new Error('gone')))],
  ['ends before its announced length', requestOf(['hell'], 5)],
])('a body that %s is the client’s doing and holds nothing', async (_, request) => {
  expect(await codeOf(readBody(request, bounds(5)))).toBe('client_gone');
  await expectAllRoom();
});

test('a large body is in parts, and small parts do not make many', async () => {
  const pieces = Array.from({ length: 1_000 }, (_, index) => String(index).padStart(200, ' '));
  const body = await readBody(requestOf(pieces), bounds(1_000_000));
  expect(body.byteLength).toBe(200_000);
  expect(body.parts.length).toBeLessThanOrEqual(2 + 200_000 / bodyPartBytes);
  expect(text(await bytesOf(body.toSend()))).toBe(pieces.join(''));
  body.release();
});

test('bodies beyond the budget of all are refused until one is released; releasing twice counts once', async () => {
  const largest = (): Promise<HeldBody> =>
    readBody(requestOfBytes(bodyBytesMaxSelfHosted), bounds(bodyBytesMaxSelfHosted));
  const fit = bodyBytesInFlightMaxSelfHosted / bodyBytesMaxSelfHosted;
  const bodies = await Promise.all(Array.from({ length: fit }, largest));
  for (const request of [requestOf(['x'], 1), requestOf(['x'])]) {
    const reading = readBody(request, bounds(5));
    await expect(reading).rejects.toMatchObject({ code: 'over_budget', retryAfterSeconds: 1 });
  }
  bodies[0]?.release();
  bodies[0]?.release();
  const again = await largest();
  expect(await codeOf(readBody(requestOf(['x'], 1), bounds(5)))).toBe('over_budget');
  for (const body of [...bodies, again]) body.release();
  await expectAllRoom();
});

test('bodies that are answered are kept within a budget of their own, and can be sent once more', async () => {
  const keeping = { ...bounds(10), bytesKeptMax: 10 };
  const read = (text: string): Promise<HeldBody> => readBody(requestOf([text]), keeping);
  const [one, other, third] = [await read('123456'), await read('1234'), await read('1')];
  expect([one.keep(), one.keep(), other.keep(), third.keep()]).toEqual([true, true, true, false]);
  expect([one.isWhole, third.isWhole]).toEqual([true, false]);
  // What is kept is none of what is in flight.
  await expectAllRoom();
  expect([text(one.bytes), text(await bytesOf(one.toSend()))]).toEqual(['123456', '123456']);
  one.release();
  const fourth = await read('123456');
  expect(fourth.keep()).toBe(true);
  for (const body of [other, fourth]) body.release();
});

test('a body that is too large to be sent again is not kept', async () => {
  const size = replayBytesMax + 1;
  const keeping = { ...bounds(size), bytesKeptMax: 2 * size };
  const body = await readBody(requestOfBytes(size), keeping);
  expect([body.keep(), body.isWhole]).toEqual([false, false]);
  await expectAllRoom();
});

test('what was refused holds nothing of the budget, and its rest was read', async () => {
  for (let count = 0; count < 4; count += 1) {
    const request = requestOfBytes(1_000_000);
    expect(await codeOf(readBody(request, bounds(5)))).toBe('body_too_large');
    const pieces = ['x'.repeat(600_000), 'x'.repeat(400_000)];
    expect(await codeOf(readBody(requestOf(pieces), bounds(999_999)))).toBe('body_too_large');
  }
  await expectAllRoom();
});

describe('sending', () => {
  const large = 4 * replayBytesMax;
  const reading = () => readBody(requestOfBytes(large), bounds(large));
  /** The budget but for what `large` holds. */
  const rest = bodyBytesInFlightMaxSelfHosted - large;

  /** Reads that much, or to the end; says how much it was. */
  const pull = async (reader: ReadableStreamDefaultReader<Uint8Array>, bytes: number): Promise<number> => {
    let readBytes = 0;
    while (readBytes < bytes) {
      const { done, value } = await reader.read();
      if (done) break;
      readBytes += value.length;
    }
    return readBytes;
  };

  test('a large body gives room back as it goes, and is whole no longer', async () => {
    const body = await reading();
    const reader = (body.toSend() as ReadableStream<Uint8Array>).getReader();
    expect(await isRoomFor(rest + bodyPartBytes)).toBe(false);
    const readBytes = await pull(reader, large / 2);
    expect(body.isWhole).toBe(false);
    expect(await isRoomFor(rest + large / 4)).toBe(true);
    // What was begun goes on to its end.
    body.release();
    expect(await pull(reader, large)).toBe(large - readBytes);
    await expectAllRoom();
  });

  test('it may be sent again until more was read than is kept, even if the first attempt goes on reading', async () => {
    const body = await reading();
    const first = (body.toSend() as ReadableStream<Uint8Array>).getReader();
    await pull(first, replayBytesMax / 2);
    expect(body.isWhole).toBe(true);
    const second = body.toSend();
    await expect(pull(first, large)).rejects.toBeUndefined();
    const bytes = await bytesOf(second);
    expect([bytes.length, bytes.every((byte) => byte === 0x20)]).toEqual([large, true]);
    body.release();
    await expectAllRoom();
  });

  test('a reader that leaves ends it', async () => {
    const body = await reading();
    await (body.toSend() as ReadableStream<Uint8Array>).cancel();
    expect((await bytesOf(body.toSend())).length).toBe(large);
    body.release();
    await expectAllRoom();
  });
});

describe('bodies that come slowly', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A request with `bytes` here and the rest of `announcedBytes` to come by `send`. */
  const slow = (bytes: number, announcedBytes: number | undefined) => {
    let own: ReadableByteStreamController | undefined;
    const request = requestWith((controller) => {
      own = controller;
      if (bytes > 0) controller.enqueue(new Uint8Array(bytes));
    }, announcedBytes);
    return { request, send: (more: number) => own?.enqueue(new Uint8Array(more)) };
  };
  const wait = (ms: number) => vi.advanceTimersByTimeAsync(ms);

  test.each([
    ['nothing of an announced body', 0, bodyBytesMaxSelfHosted],
    ['some of an announced body', 1_000, bodyBytesMaxSelfHosted],
    ['nothing of a small one', 0, 10],
    ['some without a length', 1_000, undefined],
  ])('%s and then silence is refused in time', async (_, bytes, announcedBytes) => {
    const reading = codeOf(readBody(slow(bytes, announcedBytes).request, bounds(bodyBytesMaxSelfHosted)));
    let code = '';
    void reading.then((said) => {
      code = said;
    });
    await wait(uploadPatienceMs - 1);
    expect(code).toBe('');
    await wait(2);
    expect(code).toBe('upload_timeout');
    vi.useRealTimers();
    await expectAllRoom();
  });

  test('one whose own deadline passes meanwhile is told so, however fast it comes', async () => {
    const { request, send } = slow(1_000, bodyBytesMaxSelfHosted);
    let code = '';
    const reading = codeOf(readBody(request, bounds(bodyBytesMaxSelfHosted), Date.now() + 2_500));
    void reading.then((said) => {
      code = said;
    });
    for (let second = 0; second < 2; second += 1) {
      await wait(1_000);
      send(200_000);
    }
    expect(code).toBe('');
    await wait(500);
    expect(code).toBe('total_timeout');
    vi.useRealTimers();
    await expectAllRoom();
  });

  /** Sends every second until it is refused, and says when that was. */
  const secondsUntilRefused = async (
    first: number,
    perSecond: number,
    secondsMax: number,
  ): Promise<number> => {
    const { request, send } = slow(first, bodyBytesMaxSelfHosted);
    let isOver = false;
    const reading = codeOf(readBody(request, bounds(bodyBytesMaxSelfHosted))).then((code) => {
      isOver = true;
      return code;
    });
    let seconds = 0;
    for (; seconds < secondsMax && !isOver; seconds += 1) {
      await wait(1_000);
      if (!isOver) send(perSecond);
    }
    if (isOver) expect(await reading).toBe('upload_timeout');
    else {
      await wait(2 * uploadPatienceMs);
      await reading;
    }
    return seconds;
  };

  test('a trickle below the floor rate ends, however much came at first', async () => {
    const perSecond = uploadBytesPerSecondMin / 4;
    const patienceS = uploadPatienceMs / 1000;
    const seconds = await secondsUntilRefused(0, perSecond, 100);
    expect(seconds).toBeGreaterThanOrEqual(patienceS);
    expect(seconds).toBeLessThanOrEqual((patienceS * 4) / 3 + 2);
    expect(await secondsUntilRefused(20_000_000, perSecond, 100)).toBeLessThanOrEqual(
      (patienceS * 4) / 3 + 2,
    );
  });

  test('the floor rate itself goes on', async () => {
    expect(await secondsUntilRefused(0, uploadBytesPerSecondMin, 120)).toBe(120);
  });

  test('while the budget is full, who is behind makes room, the worst first', async () => {
    const third = Math.floor(bodyBytesInFlightMaxSelfHosted / 3);
    const stuck = [1, 2, 3].map(() => slow(0, bodyBytesInFlightMaxSelfHosted));
    const codes: string[] = [];
    const all = stuck.map(({ request }, index) =>
      codeOf(readBody(request, bounds(bodyBytesInFlightMaxSelfHosted))).then((code) => {
        codes[index] = code;
      }),
    );
    for (const { send } of stuck) {
      send(third);
      await wait(500);
    }
    // None is behind enough yet.
    const early = codeOf(readBody(requestOfBytes(1_000), bounds(1_000)));
    await wait(0);
    expect(await early).toBe('over_budget');
    await wait(uploadYieldMs - 500);
    const body = readBody(requestOfBytes(1_000), bounds(1_000));
    await wait(0);
    (await body).release();
    stuck[0]?.send(1);
    await wait(1);
    // It is refused once the rest of it was waited for.
    await wait(uploadPatienceMs);
    await Promise.all(all);
    expect(codes).toEqual(['over_budget', 'upload_timeout', 'upload_timeout']);
    vi.useRealTimers();
    await expectAllRoom();
  });
});
