/**
 * What clients send at their own pace: until it is whole it takes room that others need. So values under way have a
 * quarter of memory together, long lists of words a fixed part of the heap, and who sends either too slowly is cut.
 * Knows no protocol; tells time by its own looks, so that a loop that stood still cuts nobody.
 */
import type { NewValue } from './store.ts';

/** Of memory: with more, what is half sent would evict what is whole. */
const valuesShare = 0.25;
/** Of words on the heap, of all clients: those of 64 commands of the greatest length. */
export const wordsBytesMax = 64 * 2 ** 20;

const lookMs = 1_000;
const windowLooks = 10;
/** A megabyte a second, a hundredth of what the slowest network between two hosts of a rack carries. */
const windowBytesMin = windowLooks * 2 ** 20;

/** A connection. */
export interface Sender {
  readonly bytesRead: number;
  destroy(): unknown;
}

interface UnderWay {
  readonly sender: Sender;
  looks: number;
  /** When its window began. */
  bytesRead: number;
}

export class Incoming {
  readonly #valuesBytesMax: number;
  readonly #underWay = new Set<UnderWay>();
  #valuesBytes = 0;
  #wordsBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ramBytesMax: number) {
    this.#valuesBytesMax = ramBytesMax * valuesShare;
  }

  /** One that is alone may have more: a small memory holds great values too. */
  hasRoomFor(bytes: number): boolean {
    return this.#valuesBytes === 0 || this.#valuesBytes + bytes <= this.#valuesBytesMax;
  }

  /** The same value; until it is committed or aborted it is one that is under way. */
  watched(value: NewValue, sender: Sender): NewValue {
    const bytes = value.pages.length;
    this.#valuesBytes += bytes;
    const ended = this.#began(sender);
    const end = (): void => {
      this.#valuesBytes -= bytes;
      ended();
    };
    return {
      bytes: value.bytes,
      pages: value.pages,
      commit: (options) => {
        end();
        value.commit(options);
      },
      abort: () => {
        end();
        value.abort();
      },
    };
  }

  /** Gives the room back, once. Undefined: there is none. */
  keepWords(bytes: number, sender: Sender): (() => void) | undefined {
    if (this.#wordsBytes + bytes > wordsBytesMax) return undefined;
    this.#wordsBytes += bytes;
    const ended = this.#began(sender);
    return () => {
      this.#wordsBytes -= bytes;
      ended();
    };
  }

  /** Cuts who was too slow over the last looks. */
  look(): void {
    if (this.#underWay.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const one of this.#underWay) {
      one.looks += 1;
      if (one.looks < windowLooks) continue;
      const { bytesRead } = one.sender;
      if (bytesRead - one.bytesRead < windowBytesMin) one.sender.destroy();
      one.looks = 0;
      one.bytesRead = bytesRead;
    }
  }

  #began(sender: Sender): () => void {
    const one = { sender, looks: 0, bytesRead: sender.bytesRead };
    this.#underWay.add(one);
    this.#timer ??= setInterval(() => this.look(), lookMs).unref();
    return () => this.#underWay.delete(one);
  }
}
