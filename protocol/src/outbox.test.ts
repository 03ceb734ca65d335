import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeAll, errorOf, type PlainFrame } from '../testing/bytes-in-pieces.ts';
import { joinBytes, utf8 } from './bytes.ts';
import { ReceiveWindow } from './credit.ts';
import { decodeBody, decodeCredit, FrameDecoder, flagLast, frameHeaderBytes, frameTypes } from './frame.ts';
import { linkStream, type StreamId } from './ids.ts';
import { frameBodyBytesMax, framePayloadBytesMax, messageBytesMax } from './limits.ts';
import { Outbox } from './outbox.ts';

const id = (number: number): StreamId => number as StreamId;
const huge = 2 ** 30;

const boxOf = (streamWindowBytes = huge, linkWindowBytes = huge): Outbox =>
  new Outbox({ bodyType: frameTypes.data, streamWindowBytes, linkWindowBytes });

/** All messages that may go now. */
const drain = (outbox: Outbox): Uint8Array[] => {
  const messages: Uint8Array[] = [];
  for (let message = outbox.take(); message !== undefined; message = outbox.take()) messages.push(message);
  return messages;
};

/** What goes now, as `stream:type` and for body frames `stream@offset+length`. */
const sent = (outbox: Outbox, decoder = new FrameDecoder()): string[] =>
  decodeAll(drain(outbox), decoder).map(describeFrame);

const describeFrame = ({ type, flags, stream, payload }: PlainFrame): string => {
  if (type !== frameTypes.data) return `${stream}:${type}`;
  const { offset, bytes } = decodeBody(payload);
  return `${stream}@${offset}+${bytes.length}${flags === flagLast ? ' last' : ''}`;
};

const record = utf8('{}');

test('nothing to send gives no message', () => {
  expect(boxOf().take()).toBeUndefined();
});

test('control frames go before bodies that were queued earlier, each kind in its order', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  outbox.write(id(1), new Uint8Array(10));
  outbox.control(frameTypes.head, id(2), record);
  outbox.control(frameTypes.ack, id(3), new Uint8Array());
  outbox.grantToPeer(id(1), 0);
  outbox.grantToPeer(linkStream, 7);
  expect(sent(outbox)).toEqual(['2:33', '3:32', '0:5', '1@0+10']);
});

test('a body is cut into frames of at most 32 KiB with their offsets, and its end follows the last byte', () => {
  const outbox = boxOf();
  outbox.openStream(id(1), 100);
  outbox.write(id(1), new Uint8Array(frameBodyBytesMax + 5));
  outbox.finish(id(1), frameTypes.end, record);
  expect(sent(outbox)).toEqual([
    `1@100+${frameBodyBytesMax}`,
    `1@${100 + frameBodyBytesMax}+5`,
    `1:${frameTypes.end}`,
  ]);
  expect(outbox.openStreams).toBe(0);
});

test('many small writes travel in one frame', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  for (let count = 0; count < 100; count += 1) outbox.write(id(1), new Uint8Array([count]));
  expect(sent(outbox)).toEqual(['1@0+100']);
});

test('streams take turns frame by frame, also across messages', () => {
  const outbox = boxOf();
  for (const stream of [1, 2, 3]) {
    outbox.openStream(id(stream));
    outbox.write(id(stream), new Uint8Array(40 * frameBodyBytesMax));
  }
  const order = decodeAll(drain(outbox)).map(({ stream }) => stream);
  expect(order).toHaveLength(120);
  expect(order.every((stream, at) => stream === (at % 3) + 1)).toBe(true);
});

test('an end needs no credit and a stream without credit does not hold up others', () => {
  const outbox = boxOf(10);
  const decoder = new FrameDecoder();
  for (const stream of [1, 2, 3]) outbox.openStream(id(stream));
  outbox.write(id(1), new Uint8Array(11));
  outbox.finish(id(1), frameTypes.end, record);
  outbox.write(id(2), new Uint8Array(10));
  outbox.finish(id(2), frameTypes.end, record);
  outbox.finish(id(3), frameTypes.fail, record);
  expect(sent(outbox, decoder)).toEqual(['1@0+10', '2@0+10', '3:36', '2:35']);
  outbox.granted(id(2), 5);
  expect(sent(outbox, decoder)).toEqual([]);
  outbox.granted(id(1), 5);
  expect(sent(outbox, decoder)).toEqual(['1@10+1', '1:35']);
});

test('with the link credit spent bodies wait and ends go; a grant continues in turn', () => {
  const outbox = boxOf(huge, 15);
  const decoder = new FrameDecoder();
  for (const stream of [1, 2, 3]) outbox.openStream(id(stream));
  outbox.write(id(1), new Uint8Array(10));
  outbox.write(id(2), new Uint8Array(10));
  expect(sent(outbox, decoder)).toEqual(['1@0+10', '2@0+5']);
  outbox.finish(id(3), frameTypes.end, record);
  outbox.write(id(1), new Uint8Array(1));
  expect(sent(outbox, decoder)).toEqual(['3:35']);
  outbox.granted(linkStream, 100);
  expect(sent(outbox, decoder)).toEqual(['2@5+5', '1@10+1']);
});

test('a dropped stream sends nothing more, its control frames still go', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  outbox.write(id(1), new Uint8Array(10));
  outbox.finish(id(1), frameTypes.end, record);
  outbox.control(frameTypes.cancel, id(1), new Uint8Array([0]));
  outbox.dropStream(id(1));
  outbox.write(id(1), new Uint8Array(10));
  outbox.granted(id(1), 10);
  outbox.finish(id(1), frameTypes.end, record);
  expect(sent(outbox)).toEqual([`1:${frameTypes.cancel}`]);
  expect(outbox.openStreams).toBe(0);
  expect(outbox.queuedBytes(id(1))).toBe(0);
});

test('the last body frame is flagged; when the last bytes have gone an empty one is', () => {
  const outbox = boxOf();
  const decoder = new FrameDecoder();
  outbox.openStream(id(1));
  outbox.write(id(1), new Uint8Array(frameBodyBytesMax + 1));
  outbox.finishFlagged(id(1));
  expect(sent(outbox, decoder)).toEqual([`1@0+${frameBodyBytesMax}`, `1@${frameBodyBytesMax}+1 last`]);
  outbox.openStream(id(2), 4);
  outbox.write(id(2), new Uint8Array(6));
  expect(sent(outbox, decoder)).toEqual(['2@4+6']);
  outbox.finishFlagged(id(2));
  expect(sent(outbox, decoder)).toEqual(['2@10+0 last']);
  expect(outbox.openStreams).toBe(0);
});

test('windows named later hold for the link and for streams opened from then on', () => {
  const outbox = boxOf(0, 0);
  outbox.setWindows(8, 12);
  outbox.openStream(id(1));
  outbox.openStream(id(2));
  outbox.write(id(1), new Uint8Array(20));
  outbox.write(id(2), new Uint8Array(20));
  expect(sent(outbox)).toEqual(['1@0+8', '2@0+4']);
});

test('a message closes once it holds a mebibyte, for bodies and for control frames', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  outbox.write(id(1), new Uint8Array(5 * messageBytesMax));
  for (let count = 0; count < 20; count += 1) {
    outbox.control(frameTypes.open, id(count + 2), new Uint8Array(framePayloadBytesMax));
  }
  const messages = drain(outbox);
  expect(messages.length).toBeGreaterThan(9);
  for (const message of messages) {
    expect(message.length).toBeLessThan(messageBytesMax + framePayloadBytesMax + frameHeaderBytes);
  }
});

test('a frame too large for the peer is refused at the sender, and the link goes on', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  const tooLarge = new Uint8Array(framePayloadBytesMax + 1);
  expect(errorOf(() => outbox.control(frameTypes.open, id(2), tooLarge))?.code).toBe('protocol_error');
  expect(errorOf(() => outbox.finish(id(1), frameTypes.end, tooLarge))?.code).toBe('protocol_error');
  outbox.finish(id(1), frameTypes.end, tooLarge.subarray(1));
  expect(sent(outbox)).toEqual(['1:35']);
});

test('sequence numbers wrap at 2^32', () => {
  const firstSequence = 2 ** 32 - 2;
  const options = { bodyType: frameTypes.data, streamWindowBytes: 1, linkWindowBytes: 1, firstSequence };
  const outbox = new Outbox(options);
  for (let count = 0; count < 5; count += 1) outbox.control(frameTypes.ack, id(1), new Uint8Array());
  expect(sent(outbox, new FrameDecoder(firstSequence))).toHaveLength(5);
});

test('a grant beyond any window is a protocol error; one for a stream that is gone means nothing', () => {
  const outbox = boxOf();
  outbox.openStream(id(1));
  outbox.granted(id(9), 2 ** 32 - 1);
  expect(errorOf(() => outbox.granted(id(1), 2 ** 32 - 1))?.code).toBe('protocol_error');
  expect(errorOf(() => outbox.granted(linkStream, 2 ** 32 - 1))?.code).toBe('protocol_error');
});

/** One step of a random life of an outbox. */
type Step =
  | { readonly do: 'write'; readonly stream: number; readonly bytes: number }
  | { readonly do: 'grant'; readonly stream: number; readonly bytes: number }
  | { readonly do: 'finish' | 'flag' | 'drop' | 'open' | 'control'; readonly stream: number }
  | { readonly do: 'take' };

const stream = fc.integer({ min: 1, max: 5 });
const size = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 3 * frameBodyBytesMax }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), stream, bytes: size }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      stream: fc.integer({ min: 0, max: 5 }),
      bytes: size,
    }),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'take' } as const) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'finish' as const,
        'flag' as const,
        'drop' as const,
        'open' as const,
        'control' as const,
      ),
      stream,
    }),
  },
);

interface ModelStream {
  credit: number;
  readonly written: number[];
  arrived: number;
  end: 'finish' | 'flag' | undefined;
}

/** The plainest outbox there could be, and what a peer sees of the real one. */
class Model {
  readonly streams = new Map<number, ModelStream>();
  readonly ended = new Map<number, ModelStream>();
  linkCredit: number;
  control = 0;
  readonly #windowBytes: number;
  #nextByte = 0;

  constructor(windowBytes: number, linkCredit: number) {
    this.#windowBytes = windowBytes;
    this.linkCredit = linkCredit;
  }

  open(number: number): void {
    this.streams.set(number, { credit: this.#windowBytes, written: [], arrived: 0, end: undefined });
  }

  /** Bytes that differ from their neighbours, so that a swap or a gap shows. */
  write(number: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 1) bytes[at] = this.#nextByte = (this.#nextByte + 1) % 251;
    this.streams.get(number)?.written.push(...bytes);
    return bytes;
  }

  body({ flags, stream: number, payload }: PlainFrame): void {
    const { offset, bytes } = decodeBody(payload);
    const model = this.streams.get(number);
    if (model === undefined) throw new Error(`a body of stream ${number}, which is not open`);
    expect(bytes.length).toBeLessThanOrEqual(frameBodyBytesMax);
    expect(offset).toBe(model.arrived);
    expect(bytes.length > 0 || flags === flagLast).toBe(true);
    const due = model.written.slice(model.arrived, model.arrived + bytes.length);
    expect(Buffer.from(bytes).equals(Buffer.from(due))).toBe(true);
    model.arrived += bytes.length;
    model.credit -= bytes.length;
    this.linkCredit -= bytes.length;
    expect(model.credit).toBeGreaterThanOrEqual(0);
    expect(this.linkCredit).toBeGreaterThanOrEqual(0);
    if (flags === flagLast) this.#end(number, model, 'flag');
  }

  finished(number: number): void {
    const model = this.streams.get(number);
    if (model === undefined) throw new Error(`an end of stream ${number}, which is not open`);
    this.#end(number, model, 'finish');
  }

  #end(number: number, model: ModelStream, end: 'finish' | 'flag'): void {
    expect(model.end).toBe(end);
    expect(model.arrived).toBe(model.written.length);
    this.streams.delete(number);
  }

  /** What may go must have gone: nothing waits that has credit. */
  expectIdle(): void {
    for (const { written, arrived, credit, end } of this.streams.values()) {
      const queued = written.length - arrived;
      if (queued > 0) expect(Math.min(credit, this.linkCredit)).toBe(0);
      else expect(end).toBeUndefined();
    }
    expect(this.control).toBe(0);
  }
}

const checkMessage = (frames: readonly PlainFrame[], model: Model): void => {
  let sawBody = false;
  for (const frame of frames) {
    if (frame.type === frameTypes.data) model.body(frame);
    else if (frame.type === frameTypes.end) model.finished(frame.stream);
    else {
      expect(sawBody).toBe(false);
      model.control -= 1;
    }
    sawBody ||= frame.type === frameTypes.data;
  }
};

test('any life of an outbox keeps to the credit, the order and the ends of a plain model', () => {
  const windows = fc.record({
    stream: fc.integer({ min: 1, max: 70_000 }),
    link: fc.integer({ min: 1, max: 200_000 }),
  });
  fc.assert(
    fc.property(windows, fc.array(step, { minLength: 20, maxLength: 120 }), (window, steps) => {
      const outbox = boxOf(window.stream, window.link);
      const model = new Model(window.stream, window.link);
      const decoder = new FrameDecoder();
      for (const step of [...steps, { do: 'take' } as const]) {
        if (step.do === 'take') {
          for (const message of drain(outbox)) {
            expect(message.length).toBeLessThan(messageBytesMax + frameBodyBytesMax + 1000);
            checkMessage(decodeAll([message], decoder), model);
          }
          model.expectIdle();
        } else apply(step, outbox, model);
      }
      expect(outbox.openStreams).toBe(model.streams.size);
    }),
    { numRuns: 300 },
  );
});

const apply = (step: Exclude<Step, { do: 'take' }>, outbox: Outbox, model: Model): void => {
  const { stream: number } = step;
  const known = model.streams.get(number);
  if (step.do === 'open') {
    // Numbers are never reused on a link, but a stream may be opened once it is gone.
    if (known !== undefined) return;
    model.open(number);
    outbox.openStream(id(number));
  } else if (step.do === 'write') {
    if (known?.end === undefined) outbox.write(id(number), model.write(number, step.bytes));
  } else if (step.do === 'grant') {
    outbox.granted(id(number), step.bytes);
    if (number === linkStream) model.linkCredit += step.bytes;
    else if (known !== undefined) known.credit += step.bytes;
  } else if (step.do === 'control') {
    model.control += 1;
    outbox.control(frameTypes.ack, id(number), new Uint8Array());
  } else if (step.do === 'drop') {
    model.streams.delete(number);
    outbox.dropStream(id(number));
  } else if (known?.end === undefined && known !== undefined) {
    known.end = step.do;
    if (step.do === 'flag') outbox.finishFlagged(id(number));
    else outbox.finish(id(number), frameTypes.end, record);
  }
};

/** Two ends of a link with messages under way in both directions, run by a list of random numbers. */
class Link {
  readonly sender: Outbox;
  readonly #decoder = new FrameDecoder();
  readonly #linkWindow: ReceiveWindow;
  readonly #windows = new Map<number, ReceiveWindow>();
  readonly #unread = new Map<number, number>();
  readonly #messages: Uint8Array[] = [];
  readonly #grants: (readonly [stream: number, bytes: number])[] = [];
  readonly arrived = new Map<number, Uint8Array[]>();
  readonly ended = new Set<number>();

  readonly streamWindowBytes: number;
  readonly linkWindowBytes: number;

  constructor(streamWindowBytes: number, linkWindowBytes: number) {
    this.streamWindowBytes = streamWindowBytes;
    this.linkWindowBytes = linkWindowBytes;
    this.sender = boxOf(streamWindowBytes, linkWindowBytes);
    this.#linkWindow = new ReceiveWindow(linkWindowBytes);
  }

  open(number: number): void {
    this.sender.openStream(id(number));
    this.#windows.set(number, new ReceiveWindow(this.streamWindowBytes));
    this.#unread.set(number, 0);
    this.arrived.set(number, []);
  }

  /** A message is on its way. */
  send(): boolean {
    const message = this.sender.take();
    if (message !== undefined) this.#messages.push(message);
    return message !== undefined;
  }

  /** The first message arrives, whole or in two pushes. */
  deliver(cut: number): boolean {
    const message = this.#messages.shift();
    if (message === undefined) return false;
    const at = cut % message.length;
    for (const push of [message.slice(0, at), message.slice(at)]) {
      for (const frame of decodeAll([push], this.#decoder)) this.#frame(frame);
    }
    let unreadOfLink = 0;
    for (const unread of this.#unread.values()) {
      if (unread > this.streamWindowBytes) throw new Error('more is unread than a stream window holds');
      unreadOfLink += unread;
    }
    if (unreadOfLink > this.linkWindowBytes) throw new Error('more is unread than the link window holds');
    return true;
  }

  #frame({ type, stream: number, payload }: PlainFrame): void {
    if (this.ended.has(number)) throw new Error('a frame after the end of its stream');
    if (type === frameTypes.end) {
      this.ended.add(number);
      return;
    }
    const { bytes } = decodeBody(payload);
    this.#windows.get(number)?.received(bytes.length);
    this.#linkWindow.received(bytes.length);
    this.#unread.set(number, (this.#unread.get(number) ?? 0) + bytes.length);
    this.arrived.get(number)?.push(bytes);
  }

  /** A client reads; what that grants is on its way back. */
  read(number: number, bytes: number): boolean {
    const unread = this.#unread.get(number) ?? 0;
    const read = Math.min(unread, bytes);
    this.#unread.set(number, unread - read);
    const granted = this.#windows.get(number)?.consumed(read) ?? 0;
    if (granted > 0) this.#grants.push([number, granted]);
    const link = this.#linkWindow.consumed(read);
    if (link > 0) this.#grants.push([linkStream, link]);
    return read > 0;
  }

  grant(): boolean {
    const grant = this.#grants.shift();
    if (grant !== undefined) this.sender.granted(id(grant[0]), grant[1]);
    return grant !== undefined;
  }
}

test('over a link every byte arrives once, in order, within the windows, and nothing stands still', () => {
  const shape = fc.record({
    streamWindow: fc.integer({ min: 1, max: 3 * frameBodyBytesMax }),
    linkWindow: fc.integer({ min: 1, max: 5 * frameBodyBytesMax }),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(shape, ({ streamWindow, linkWindow, seed }) => {
      const link = new Link(streamWindow, linkWindow);
      const written = runLink(link, randomFrom(seed));
      for (const [number, bytes] of written) {
        expect(Buffer.from(joinBytes(link.arrived.get(number) ?? [])).equals(bytes)).toBe(true);
        expect(link.ended.has(number)).toBe(true);
      }
      expect(link.sender.openStreams).toBe(0);
    }),
    { numRuns: 60 },
  );
});

const streams = 8;

type Draw = (below: number) => number;

/** Numbers that depend on the seed alone (mulberry32): thousands of them are cheap, unlike drawn values. */
const randomFrom = (seed: number): Draw => {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
};

/** Thousands of random steps, then only sending, delivering, reading and granting until all is still. */
const runLink = (link: Link, draw: Draw): ReadonlyMap<number, Buffer> => {
  const writeBytesMax = Math.min(3000, 2 * Math.min(link.streamWindowBytes, link.linkWindowBytes));
  const written = new Map<number, Buffer[]>();
  for (let number = 1; number <= streams; number += 1) {
    link.open(number);
    written.set(number, []);
  }
  for (let steps = 0; steps < 3000; steps += 1) {
    const number = 1 + draw(streams);
    const action = draw(6);
    if (action < 2) {
      const bytes = Buffer.alloc(1 + draw(writeBytesMax), steps % 256);
      written.get(number)?.push(bytes);
      link.sender.write(id(number), bytes);
    } else if (action === 2) link.send();
    else if (action === 3) link.deliver(draw(5000));
    else if (action === 4) link.read(number, 1 + draw(2000));
    else link.grant();
  }
  for (let number = 1; number <= streams; number += 1) link.sender.finish(id(number), frameTypes.end, record);
  let moved = true;
  while (moved) {
    moved = link.send() || link.deliver(draw(5000)) || link.grant();
    for (let number = 1; number <= streams && !moved; number += 1) moved = link.read(number, 5000);
  }
  return new Map([...written].map(([number, parts]) => [number, Buffer.concat(parts)]));
};

test('a grant travels as a CREDIT frame of its stream', () => {
  const outbox = boxOf();
  outbox.grantToPeer(id(4), 9);
  const [credit] = decodeAll(drain(outbox));
  expect(credit?.type).toBe(frameTypes.credit);
  expect(credit?.stream).toBe(4);
  expect(decodeCredit(credit?.payload ?? new Uint8Array())).toBe(9);
});
