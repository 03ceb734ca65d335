/** Frames: what goes in comes out, and of what is none nothing is believed, however it is cut into pieces. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { valueBytesMax } from '../store.ts';
import { PeerError } from './codes.ts';
import { Inbox } from './inbox.ts';
import { dataBytesMax, jsonBytesMax } from './limits.ts';
import { type Frame, type FrameName, frameOf, frames, headerOf, readFrame, type Side } from './wire.ts';

const times = { firstMsMax: 1_000, stallMsMax: 1_000 };

/** Bytes that come in these pieces, and then the end. */
const sourceOf = (...pieces: readonly Buffer[]): Inbox => {
  const left = [...pieces];
  const inbox = new Inbox(() => onHungry());
  const onHungry = (): void => {
    const next = left.shift();
    if (next === undefined) inbox.end();
    else inbox.push(next);
    if (inbox.isHungry) queueMicrotask(onHungry);
  };
  return inbox;
};

const cut = (bytes: Buffer, sizes: readonly number[]): Buffer[] => {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    if (at >= bytes.length) break;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return at < bytes.length ? [...pieces, bytes.subarray(at)] : pieces;
};

const u32 = fc.nat(0xffff_ffff);
const key = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 2048 });
const whole: fc.Arbitrary<Exclude<Frame, { name: 'data' }>> = fc.oneof(
  fc.record({ name: fc.constant('get' as const), from: u32, key }),
  fc.record({ name: fc.constantFrom('ping' as const, 'pong' as const), bytes: eight() }),
  fc.record({ name: fc.constant('probe' as const), bytes: fc.nat(1_000_000) }),
  fc.record({ name: fc.constant('namespaces' as const) }),
  fc.record({ name: fc.constant('check' as const), key }),
  fc.record({
    name: fc.constant('keys' as const),
    limit: u32,
    after: fc.maxSafeNat(),
    namespace: fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 64 }),
  }),
  fc.record({
    name: fc.constant('head' as const),
    total: fc.constant(valueBytesMax),
    checksum: u32,
    from: fc.nat(valueBytesMax),
    leftMs: fc.nat(),
  }),
  fc.record({ name: fc.constant('json' as const), text: fc.json() }),
  fc.record({
    name: fc.constant('fail' as const),
    code: fc.constantFrom('missing' as const, 'busy' as const),
  }),
);

function eight(): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes));
}

test('every frame comes out as it went in, in whatever pieces', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(whole, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      async (sent, sizes) => {
        for (const side of ['asker', 'holder'] as const) {
          const ours = sent.filter(({ name }) => frames[name].from === side);
          const source = sourceOf(...cut(Buffer.concat(ours.map(frameOf)), sizes));
          for (const frame of ours) expect(await readFrame(source, side, times)).toEqual(frame);
          expect(await readFrame(source, side, times)).toBeUndefined();
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('whatever bytes come, they are a frame that may come or a named failure', async () => {
  const bytes = fc.uint8Array({ maxLength: 64 }).map((some) => Buffer.from(some));
  const begun = fc
    .tuple(fc.constantFrom(1, 2, 3, 4, 5, 6, 17, 18, 19, 20, 21), u32, bytes)
    .map(([type, length, rest]) => {
      const header = Buffer.alloc(8);
      header.writeUInt8(type);
      header.writeUInt32LE(length % 100, 4);
      return Buffer.concat([header, rest]);
    });
  await fc.assert(
    fc.asyncProperty(fc.oneof(bytes, begun), fc.constantFrom<Side>('asker', 'holder'), async (some, side) => {
      const frame = await readFrame(sourceOf(some), side, times).catch((thrown: unknown) => thrown);
      if (frame instanceof Error) expect(frame).toBeInstanceOf(PeerError);
      else if (frame !== undefined) expect(frames[(frame as Frame).name].from).toBe(side);
    }),
    { numRuns: 2_000 },
  );
});

const codeOf = (bytes: Buffer, side: Side): Promise<unknown> =>
  readFrame(sourceOf(bytes), side, times).then(
    () => 'taken',
    (thrown: unknown) => (thrown instanceof PeerError ? thrown.code : thrown),
  );

test('a length beyond the bound is refused by its header, before any of its bytes', async () => {
  const lengths: [FrameName, number][] = [
    ['get', 4 + 2049],
    ['data', dataBytesMax + 1],
    ['json', jsonBytesMax + 1],
    ['ping', 9],
    ['data', 0xffff_ffff],
  ];
  for (const [name, length] of lengths)
    expect(await codeOf(headerOf(name, length), frames[name].from)).toBe('excess');
});

test('a frame of the other side, an unknown one, and one that says nothing possible are garbage', async () => {
  expect(await codeOf(frameOf({ name: 'pong', bytes: Buffer.alloc(8) }), 'asker')).toBe('garbage');
  expect(await codeOf(frameOf({ name: 'namespaces' }), 'holder')).toBe('garbage');
  expect(await codeOf(Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'asker')).toBe('garbage');
  const head = { name: 'head', total: 10, checksum: 0, from: 11, leftMs: 0 } as const;
  expect(await codeOf(frameOf(head), 'holder')).toBe('garbage');
  expect(await codeOf(frameOf({ ...head, from: 0, leftMs: Number.NaN }), 'holder')).toBe('garbage');
  expect(await codeOf(frameOf({ ...head, total: valueBytesMax + 1 }), 'holder')).toBe('excess');
  expect(await codeOf(frameOf({ name: 'probe', bytes: 2 ** 30 }), 'asker')).toBe('excess');
  expect(await codeOf(frameOf({ name: 'pong', bytes: Buffer.alloc(8) }).subarray(0, 12), 'holder')).toBe(
    'cut',
  );
});
