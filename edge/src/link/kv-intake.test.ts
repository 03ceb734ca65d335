import { type Frame, frameTypes } from '@cognitora/protocol/frame';
import { linkStream, type ReplicaName } from '@cognitora/protocol/ids';
import { encodeKvDelta, encodeKvFeed, encodeKvMark, encodeKvSnapshot } from '@cognitora/protocol/kv';
import { encodeKvAsk, encodeKvHeld, encodeKvPeer } from '@cognitora/protocol/kv-fabric';
import {
  kvAsksPerSecond,
  kvDigestsBurst,
  kvDigestsPerFeedMax,
  kvDigestsPerMessageMax,
  kvHeldDigestsPerSecond,
  kvKeysPerNodeMax,
  unaskedFramesBurst,
} from '@cognitora/protocol/limits';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { newIntake } from '../../testing/intakes.ts';

const frame = (type: number, payload: Uint8Array): Frame => ({ type, flags: 0, stream: linkStream, payload });
const most = [{ tier: 'device' as const, digests: new Uint32Array(2 * kvDigestsPerMessageMax) }];
const delta = (sequence: number, added = most): Frame =>
  frame(frameTypes.kvdelta, encodeKvDelta({ feed: 0, sequence, isCleared: false, added, removed: [] }));
const part = (request: number, at: number, isLast = false): Frame =>
  frame(
    frameTypes.kvsnapshot,
    encodeKvSnapshot({ feed: 0, request, sequence: 1, part: at, isLast, blocks: most }),
  );
const mark = frame(frameTypes.kvmark, encodeKvMark({ feed: 0, sequence: 1 }));
const feed = frame(
  frameTypes.kvfeed,
  encodeKvFeed({
    ...{ feed: 0, replica: 'r0' as ReplicaName, model: 'm', trust: 'exact', profile: plainProfile },
  }),
);

const at = () => {
  const time = { ms: 0 };
  return { time, intake: newIntake(() => time.ms) };
};
const partsOfMost = kvDigestsPerFeedMax / kvDigestsPerMessageMax;

test('deltas are read as far as there are digests left, then missed, and read again later', () => {
  const { time, intake } = at();
  const burst = kvDigestsBurst / kvDigestsPerMessageMax;
  const types = Array.from({ length: burst + 3 }, (_, index) => intake.read(delta(index + 1))?.type);
  expect(types).toEqual([...Array.from({ length: burst }, () => 'delta'), 'missed', 'missed', 'missed']);
  expect(intake.read(delta(99, []))?.type).toBe('delta');
  time.ms += 1_000;
  expect(intake.read(delta(100))?.type).toBe('delta');
});

test('two full snapshots load at once, the third is asked for once there is room', () => {
  const { time, intake } = at();
  for (const feedNumber of [0, 1, 2]) intake.want({ feed: feedNumber, request: 10 + feedNumber });
  expect([intake.due()?.request, intake.due()?.request, intake.due()]).toEqual([10, 11, undefined]);
  expect(intake.read(delta(1))?.type).toBe('missed');
  const read = Array.from({ length: partsOfMost }, (_, index) => intake.read(part(10, index))?.type);
  expect(new Set(read)).toEqual(new Set(['snapshot']));
  time.ms += 500;
  expect(intake.due()?.request).toBe(12);
});

test('what a snapshot did not need is there for the next at once', () => {
  const { intake } = at();
  for (let request = 1; request < 20; request += 1) {
    intake.want({ feed: 0, request });
    expect(intake.due()?.request).toBe(request);
    const small = { feed: 0, request, sequence: 1, part: 0, isLast: true, blocks: [] };
    expect(intake.read(frame(frameTypes.kvsnapshot, encodeKvSnapshot(small)))?.type).toBe('snapshot');
  }
});

test('a snapshot that is longer than a ledger may be is missed, one that nobody asked for means nothing', () => {
  const { intake } = at();
  expect(intake.read(part(7, 0))).toBeUndefined();
  intake.want({ feed: 0, request: 7 });
  intake.want({ feed: 1, request: 8 });
  expect([intake.due()?.request, intake.due()?.request]).toEqual([7, 8]);
  const types = Array.from({ length: partsOfMost + 1 }, (_, index) => intake.read(part(7, index))?.type);
  expect(types.slice(-2)).toEqual(['snapshot', 'missed']);
});

test('frames beyond the burst are not read, and a burst more of them ends the link', () => {
  const { time, intake } = at();
  for (let read = 0; read < unaskedFramesBurst; read += 1) expect(intake.read(mark)?.type).toBe('mark');
  expect([intake.read(mark), intake.read(delta(1, []))?.type]).toEqual([undefined, 'missed']);
  time.ms += 1_000;
  expect(intake.read(mark)?.type).toBe('mark');
  const flood = (): void => {
    for (let more = 0; more < 3 * unaskedFramesBurst; more += 1) intake.read(mark);
  };
  expect(errorOf(flood)?.code).toBe('flooded');
});

test('a feed that is opened again and again counts for its length, and is never passed over', () => {
  const { intake } = at();
  let opened = 0;
  const flood = (): void => {
    for (; opened < unaskedFramesBurst; opened += 1) expect(intake.read(feed)?.type).toBe('feed');
  };
  expect(errorOf(flood)?.code).toBe('flooded');
  expect(opened).toBeLessThan(unaskedFramesBurst / 2);
});

const held = (digests: number, isCleared = false): Frame => {
  const added = new Uint32Array(2 * digests).fill(1);
  return frame(frameTypes.kvheld, encodeKvHeld({ isCleared, added, removed: new Uint32Array() }));
};
const heldOf = (message: ReturnType<ReturnType<typeof newIntake>['read']>) =>
  message?.type === 'held' ? [message.held.isCleared, message.held.added.length / 2] : message?.type;

test('of what a daemon holds a full telling is read at once; beyond, it counts as holding nothing', () => {
  const { time, intake } = at();
  const messages = kvKeysPerNodeMax / kvDigestsPerMessageMax;
  for (let sent = 0; sent < messages; sent += 1) {
    expect(heldOf(intake.read(held(kvDigestsPerMessageMax)))).toEqual([false, kvDigestsPerMessageMax]);
  }
  expect(heldOf(intake.read(held(1)))).toEqual([true, 0]);
  time.ms += 1_000;
  expect(heldOf(intake.read(held(kvHeldDigestsPerSecond / 4)))).toEqual([false, kvHeldDigestsPerSecond / 4]);
  // What is said of engines' caches has a bound of its own.
  expect(intake.read(delta(1))?.type).toBe('delta');
});

test('asks beyond their rate are not answered, and are again a moment later', () => {
  const { time, intake } = at();
  const ask = frame(frameTypes.kvask, encodeKvAsk({ ask: 1, digests: new Uint32Array(2) }));
  const read = Array.from({ length: 2 * kvAsksPerSecond + 3 }, () => intake.read(ask)?.type);
  expect(read.filter((type) => type === 'ask')).toHaveLength(2 * kvAsksPerSecond);
  time.ms += 1_000 / kvAsksPerSecond;
  expect([intake.read(ask)?.type, intake.read(ask)?.type]).toEqual(['ask', undefined]);
});

test('who tells of its daemon without end is thrown out', () => {
  const { intake } = at();
  const peer = frame(
    frameTypes.kvpeer,
    encodeKvPeer({ publicKey: 'A'.repeat(43), addresses: [], reach: [], replicas: [] }),
  );
  const tell = (): void => {
    for (let sent = 0; sent < unaskedFramesBurst; sent += 1) intake.read(peer);
  };
  expect(errorOf(tell)?.code).toBe('flooded');
});
