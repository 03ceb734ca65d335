/**
 * What a daemon asks of another, one function for each: says it on a channel that it has for itself, reads the answer,
 * and gives the channel back when all of it was read. Whatever else happens cuts the channel. What is no value has an
 * end of its time, however steadily it comes; values have `patience.ts`. Believes nothing: lengths are checked before
 * bytes are taken, and a value counts once its bytes are those that were announced.
 */
import { ArrivingSum } from '../tiers/checksum.ts';
import { PeerError } from './codes.ts';
import { askedMsMax, fetchStallMsMax, stallMsMax } from './limits.ts';
import type { NewestAsk } from './newest-keys.ts';
import type { Channel } from './transport.ts';
import { type Frame, type FrameName, frameOf, type Head, readFrame } from './wire.ts';

/** A value on its way here, over as many exchanges as it takes. */
export interface Transfer {
  /** What the first holder said; another one that says otherwise has another value. */
  head: Head | undefined;
  target: Buffer;
  /** Bytes that are here, in whole frames, and their checksum. */
  at: number;
  sum: ArrivingSum;
}

export const newTransfer = (): Transfer => ({
  head: undefined,
  target: Buffer.alloc(0),
  at: 0,
  sum: new ArrivingSum(),
});

export interface GetOptions {
  /** Room for the value, of its whole length. Throws when there is none. */
  readonly roomFor: (head: Head) => Buffer;
  /** So many bytes are about to come; resolves when they may. */
  readonly onData: (bytes: number) => Promise<void> | undefined;
}

/** Goes on with the transfer where it stands, to its end. */
export const get = (channel: Channel, key: string, transfer: Transfer, options: GetOptions): Promise<void> =>
  exchange(channel, { name: 'get', from: transfer.at, key }, async () => {
    const head = await next(channel, 'head', fetchStallMsMax);
    begin(transfer, head, options);
    while (transfer.at < head.total) {
      const { length } = await next(channel, 'data', fetchStallMsMax);
      if (length > head.total - transfer.at) throw new PeerError('excess', 'more than the value has');
      await options.onData(length);
      const part = transfer.target.subarray(transfer.at, transfer.at + length);
      await fill(channel, part, fetchStallMsMax);
      transfer.at += length;
      transfer.sum.upTo(transfer.target, transfer.at);
    }
    if (transfer.sum.checksum === head.checksum) return;
    restart(transfer);
    throw new PeerError('corrupt');
  });

const begin = (transfer: Transfer, head: Head, { roomFor }: GetOptions): void => {
  const { head: known, at } = transfer;
  if (head.from !== at) throw new PeerError('garbage', `from ${head.from} instead of ${at}`);
  if (known === undefined) transfer.target = roomFor(head);
  else if (known.total !== head.total || known.checksum !== head.checksum) throw new PeerError('changed');
  transfer.head ??= head;
};

/** From its first byte, into the same room. */
const restart = (transfer: Transfer): void => {
  transfer.at = 0;
  transfer.sum = new ArrivingSum();
};

/** Milliseconds for eight bytes there and back. */
export const ping = (
  channel: Channel,
  nonce: Buffer,
  nowMs: () => number,
  msMax = askedMsMax,
): Promise<number> =>
  ended(channel, msMax, { name: 'ping', bytes: nonce }, async () => {
    const startedMs = nowMs();
    const { bytes } = await next(channel, 'pong');
    if (!bytes.equals(nonce)) throw new PeerError('garbage', 'not what was sent');
    return nowMs() - startedMs;
  });

/** Milliseconds until so many bytes were here. */
export const probe = (
  channel: Channel,
  bytes: number,
  nowMs: () => number,
  msMax = askedMsMax,
): Promise<number> =>
  ended(channel, msMax, { name: 'probe', bytes }, async () => {
    const startedMs = nowMs();
    for (let left = bytes; left > 0; ) {
      const { length } = await next(channel, 'data');
      if (length > left) throw new PeerError('excess', 'more than was asked for');
      await fill(channel, Buffer.allocUnsafe(length), stallMsMax);
      left -= length;
    }
    return nowMs() - startedMs;
  });

/** As the peer tells it: whoever uses it parses it. */
export const namespaces = (channel: Channel): Promise<Uint8Array> =>
  ended(channel, askedMsMax, { name: 'namespaces' }, async () => bytesOf(await next(channel, 'json')));

/** The peer fetches the key from us, and tells what it got. */
export const check = (channel: Channel, key: string, msMax: number): Promise<Uint8Array> =>
  ended(channel, msMax, { name: 'check', key }, async () => bytesOf(await next(channel, 'json', msMax)));

/** As the peer tells it. */
export const newest = (channel: Channel, ask: NewestAsk): Promise<Uint8Array> =>
  ended(channel, askedMsMax, { name: 'keys', ...ask }, async () => bytesOf(await next(channel, 'json')));

type Asked = Exclude<Frame, { readonly name: 'data' }>;

const bytesOf = ({ text }: { readonly text: string }): Uint8Array => Buffer.from(text, 'utf8');

/** All of it within that time, or the channel is cut. */
const ended = async <Answer>(
  channel: Channel,
  msMax: number,
  asked: Asked,
  answer: () => Promise<Answer>,
): Promise<Answer> => {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    channel.cut();
  }, msMax);
  try {
    return await exchange(channel, asked, answer);
  } catch (thrown) {
    throw isLate ? new PeerError('stalled', `not all of it within ${msMax} ms`) : thrown;
  } finally {
    clearTimeout(timer);
  }
};

const exchange = async <Answer>(
  channel: Channel,
  asked: Asked,
  answer: () => Promise<Answer>,
): Promise<Answer> => {
  try {
    // What becomes of it shows in the answer.
    channel.write(frameOf(asked)).catch(() => channel.cut());
    const answered = await answer();
    channel.giveBack();
    return answered;
  } catch (thrown) {
    // A holder that says no has said all: the channel is as good as new.
    if (thrown instanceof ToldError) channel.giveBack();
    else channel.cut();
    throw thrown;
  }
};

/** The holder said it. */
class ToldError extends PeerError {}

/** The frame that must come next. */
const next = async <Name extends FrameName>(
  channel: Channel,
  name: Name,
  firstMsMax = stallMsMax,
): Promise<Frame & { readonly name: Name }> => {
  const frame = await readFrame(channel, 'holder', { firstMsMax, stallMsMax });
  if (frame === undefined) throw new PeerError('cut');
  if (frame.name === 'fail') throw new ToldError(frame.code);
  if (frame.name !== name) throw new PeerError('garbage', `${frame.name} instead of ${name}`);
  return frame as Frame & { readonly name: Name };
};

const fill = async (channel: Channel, target: Buffer, msMax: number): Promise<void> => {
  if (!(await channel.fill(target, msMax))) throw new PeerError('cut');
};
