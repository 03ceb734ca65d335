/**
 * What a daemon answers another: one exchange after the other on each channel, each read when the one before is
 * answered, so that whoever floods waits in the network and not here. Gives what is here alone, never what a peer has.
 * A channel on which anything comes that may not come is cut, and counted.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeId } from '@cognitora/protocol/ids';
import type { KvNamespace } from '@cognitora/protocol/kv-daemon';
import type { HeldValue } from '../store.ts';
import { checksumOf } from '../tiers/checksum.ts';
import type { CheckOutcome } from './check.ts';
import { PeerError, type PeerFailure, peerErrorOf, toldFailures } from './codes.ts';
import {
  dataBytesMax,
  jsonBytesMax,
  probeBytesMax,
  probedMax,
  probedPerPeerMax,
  restMsMax,
  servedMax,
  servedPerPeerMax,
  stallMsMax,
} from './limits.ts';
import type { NewestAnswer, NewestAsk } from './newest-keys.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { Channel } from './transport.ts';
import { frameOf, headerOf, readFrame } from './wire.ts';
import { within } from './within.ts';

export interface Served {
  /** What is here, held; never by asking anybody else. */
  readonly hold: (key: string) => HeldValue | undefined | Promise<HeldValue | undefined>;
  /** Until the value ends; 0: never does. */
  readonly leftMs: (key: string) => number;
  readonly namespaces: () => readonly KvNamespace[];
  /** Fetches the key from that node. */
  readonly check: (node: NodeId, key: string) => Promise<CheckOutcome>;
  /** Undefined: of no namespace that is mirrored here. */
  readonly newest: (ask: NewestAsk) => NewestAnswer | undefined;
  /** Undefined: as fast as it goes. */
  readonly cap: (node: NodeId) => TokenBucket | undefined;
  readonly nowMs: () => number;
  readonly onSent: (bytes: number, isValue: boolean) => void;
  readonly onFailed: (code: PeerFailure) => void;
}

/** All probes are answered out of these. */
const zeros = Buffer.alloc(probeBytesMax);

/** So many at once, of all peers and of one. */
class Begun {
  readonly #max: number;
  readonly #ofPeerMax: number;
  readonly #ofPeer = new Map<NodeId, number>();
  #all = 0;

  constructor(max: number, ofPeerMax: number) {
    this.#max = max;
    this.#ofPeerMax = ofPeerMax;
  }

  /** False: too many. */
  begin(node: NodeId): boolean {
    const ofPeer = this.#ofPeer.get(node) ?? 0;
    if (this.#all >= this.#max || ofPeer >= this.#ofPeerMax) return false;
    this.#all += 1;
    this.#ofPeer.set(node, ofPeer + 1);
    return true;
  }

  end(node: NodeId): void {
    this.#all -= 1;
    const ofPeer = (this.#ofPeer.get(node) ?? 1) - 1;
    if (ofPeer > 0) this.#ofPeer.set(node, ofPeer);
    else this.#ofPeer.delete(node);
  }
}

/** What is sent now. One for all listeners of a daemon. */
export class ServedNow {
  readonly values = new Begun(servedMax, servedPerPeerMax);
  readonly probes = new Begun(probedMax, probedPerPeerMax);
  readonly #bytesMax: number;
  readonly #checksums = new WeakMap<object, Promise<number>>();
  #bytes = 0;

  /** So much of memory may be held, and one value always. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False: it would be too much. */
  hold(bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** Made once of a value, as long as that is in memory: whoever asks for no byte of it would have it made each time. */
  checksumOf({ value, bytes }: HeldValue): Promise<number> {
    const known = this.#checksums.get(value);
    if (known !== undefined) return known;
    const made = checksumOf(bytes);
    this.#checksums.set(value, made);
    return made;
  }
}

/** Answers until the other end ends. Never rejects. */
export const serveChannel = async (channel: Channel, served: Served, now: ServedNow): Promise<void> => {
  try {
    while (await answerNext(channel, served, now));
    channel.end();
  } catch (thrown) {
    channel.cut();
    const { code } = peerErrorOf(thrown);
    // An asker that leaves between two exchanges or gives up on one is no failure of anybody.
    if (code !== 'cut') served.onFailed(code);
  }
};

const answerNext = async (channel: Channel, served: Served, now: ServedNow): Promise<boolean> => {
  const frame = await readFrame(channel, 'asker', { firstMsMax: restMsMax, stallMsMax });
  if (frame === undefined) return false;
  switch (frame.name) {
    case 'get':
      await giveOrRefuse(channel, frame.key, frame.from, served, now);
      break;
    case 'ping':
      await send(channel, frameOf({ name: 'pong', bytes: frame.bytes }));
      break;
    case 'probe':
      await answerProbe(channel, frame.bytes, served, now);
      break;
    case 'namespaces':
      await sendJson(channel, { namespaces: served.namespaces() });
      break;
    case 'check':
      await answerCheck(channel, frame.key, served);
      break;
    case 'keys': {
      const answer = served.newest(frame);
      await (answer === undefined ? refuse(channel, 'missing') : sendJson(channel, answer));
      break;
    }
    default:
      throw new PeerError('garbage', frame.name);
  }
  return true;
};

const send = (channel: Channel, ...parts: readonly Buffer[]): Promise<void> =>
  within(channel.write(...parts), stallMsMax, 'stalled');

const sendJson = async (channel: Channel, value: unknown): Promise<void> => {
  const frame = frameOf({ name: 'json', text: JSON.stringify(value) });
  if (frame.length > jsonBytesMax) await refuse(channel, 'excess');
  else await send(channel, frame);
};

const refuse = (channel: Channel, code: (typeof toldFailures)[number]): Promise<void> =>
  send(channel, frameOf({ name: 'fail', code }));

const answerProbe = async (
  channel: Channel,
  bytes: number,
  served: Served,
  { probes }: ServedNow,
): Promise<void> => {
  if (!probes.begin(channel.node)) return refuse(channel, 'busy');
  try {
    await sendAll(channel, zeros.subarray(0, bytes), served, false);
  } finally {
    probes.end(channel.node);
  }
};

const giveOrRefuse = async (
  channel: Channel,
  key: string,
  from: number,
  served: Served,
  now: ServedNow,
): Promise<void> => {
  if (!now.values.begin(channel.node)) return refuse(channel, 'busy');
  try {
    const held = await served.hold(key);
    if (held === undefined) return await refuse(channel, 'missing');
    try {
      await giveHeld(channel, key, from, held, served, now);
    } finally {
      held.release();
    }
  } finally {
    now.values.end(channel.node);
  }
};

const giveHeld = async (
  channel: Channel,
  key: string,
  from: number,
  held: HeldValue,
  served: Served,
  now: ServedNow,
): Promise<void> => {
  const { length: total } = held.bytes;
  // Of a value that is not the one that the asker has a part of.
  if (from > total) return refuse(channel, 'missing');
  if (!now.hold(total)) return refuse(channel, 'busy');
  try {
    const checksum = await now.checksumOf(held);
    await send(channel, frameOf({ name: 'head', total, checksum, from, leftMs: served.leftMs(key) }));
    await sendAll(channel, held.bytes.subarray(from), served, true);
  } finally {
    now.release(total);
  }
};

/** Two frames on their way at a time: one is taken by the network while the next is made. */
const sendAll = async (channel: Channel, bytes: Buffer, served: Served, isValue: boolean): Promise<void> => {
  const cap = served.cap(channel.node);
  let before: Promise<void> = Promise.resolve();
  for (let at = 0; at < bytes.length; at += dataBytesMax) {
    const part = bytes.subarray(at, at + dataBytesMax);
    const waitMs = cap?.take(part.length, served.nowMs()) ?? 0;
    if (waitMs > 0) await delay(waitMs);
    const now = send(channel, headerOf('data', part.length), part);
    now.catch(() => {});
    await before;
    before = now;
  }
  await before;
  served.onSent(bytes.length, isValue);
};

const answerCheck = async (channel: Channel, key: string, served: Served): Promise<void> => {
  try {
    await sendJson(channel, await served.check(channel.node, key));
  } catch (thrown) {
    const { code } = peerErrorOf(thrown);
    const isTold = (toldFailures as readonly PeerFailure[]).includes(code);
    await refuse(channel, isTold ? (code as (typeof toldFailures)[number]) : 'missing');
  }
};
