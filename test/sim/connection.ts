/**
 * The connection between an agent and the object that hosts its link: a WebSocket over TCP. What is sent arrives in
 * order or not at all; it can be cut, held (a partition), or be gone for one end alone. Keeps what one end has sent and
 * the network has not taken, as a socket's buffer does.
 */
import { Channel, type Schedule } from './schedule.ts';

/** What one end hears. */
export interface ConnectionEnd {
  message(data: string | Uint8Array): void;
  closed(code: number, reason: string): void;
}

export type Side = 'agent' | 'object';

/** Who watches what goes by. */
export interface ConnectionTap {
  sent(from: Side, data: string | Uint8Array): void;
  arrived(to: Side, data: string | Uint8Array): void;
}

const other = (side: Side): Side => (side === 'agent' ? 'object' : 'agent');

/** Bytes on their way before the sender's own buffer fills. */
const onWayBytesMax = 1024 * 1024;

interface Way {
  readonly channel: Channel;
  onWayBytes: number;
  readonly waiting: { readonly data: string | Uint8Array; readonly onWritten: () => void }[];
  waitingBytes: number;
}

export class Connection {
  readonly #ends: Partial<Record<Side, ConnectionEnd>> = {};
  readonly #isOpen: Record<Side, boolean> = { agent: true, object: true };
  /** Where what is sent arrives. */
  readonly #ways: Record<Side, Way>;
  /** Nothing arrives any more. */
  #isCut = false;
  readonly #tap: ConnectionTap;
  readonly #schedule: Schedule;
  readonly #delayMs: () => number;

  constructor(schedule: Schedule, delayMs: () => number, tap: ConnectionTap) {
    this.#schedule = schedule;
    this.#delayMs = delayMs;
    this.#tap = tap;
    const way = (): Way => ({
      channel: new Channel(schedule, delayMs),
      onWayBytes: 0,
      waiting: [],
      waitingBytes: 0,
    });
    this.#ways = { agent: way(), object: way() };
  }

  attach(side: Side, end: ConnectionEnd): void {
    this.#ends[side] = end;
  }

  /** Whether both ends believe in it, and rightly. */
  get isSound(): boolean {
    return !this.#isCut && this.#isOpen.agent && this.#isOpen.object;
  }

  /** Bytes that `side` sent and the network has not taken. */
  bufferedBytes(side: Side): number {
    return this.#ways[other(side)].waitingBytes;
  }

  send(side: Side, data: string | Uint8Array, onWritten: () => void = () => {}): void {
    if (!this.#isOpen[side]) return;
    this.#tap.sent(side, data);
    const way = this.#ways[other(side)];
    way.waiting.push({ data, onWritten });
    way.waitingBytes += data.length;
    this.#write(other(side));
  }

  /** One end closes: the other hears of it behind all that was sent. */
  close(side: Side, code: number, reason: string): void {
    if (!this.#isOpen[side]) return;
    this.#isOpen[side] = false;
    this.#tellClosed(other(side), code, reason);
  }

  /** Breaks: what is on its way is lost, and each of these ends hears of it. */
  cut(hearing: readonly Side[]): void {
    this.#isCut = true;
    for (const side of hearing) this.#schedule.after(this.#delayMs(), () => this.#closed(side, 1006, 'cut'));
  }

  hold(): void {
    for (const side of ['agent', 'object'] as const) this.#ways[side].channel.hold();
  }

  release(): void {
    for (const side of ['agent', 'object'] as const) this.#ways[side].channel.release();
  }

  #closed(side: Side, code: number, reason: string): void {
    if (!this.#isOpen[side]) return;
    this.#isOpen[side] = false;
    this.#ends[side]?.closed(code, reason);
    // A peer answers a close; of one that the connection lost it hears only if the network tells it.
    if (code !== 1006) this.#tellClosed(other(side), code, reason);
  }

  #tellClosed(side: Side, code: number, reason: string): void {
    this.#ways[side].channel.send(() => {
      if (!this.#isCut) this.#closed(side, code, reason);
    });
  }

  #write(to: Side): void {
    const way = this.#ways[to];
    while (way.onWayBytes < onWayBytesMax) {
      const next = way.waiting.shift();
      if (next === undefined) return;
      const { data, onWritten } = next;
      way.waitingBytes -= data.length;
      way.onWayBytes += data.length;
      this.#schedule.after(0, onWritten);
      way.channel.send(() => {
        if (this.#isCut) return;
        way.onWayBytes -= data.length;
        if (this.#isOpen[to]) {
          this.#tap.arrived(to, data);
          this.#ends[to]?.message(data);
        }
        this.#write(to);
      });
    }
  }
}
