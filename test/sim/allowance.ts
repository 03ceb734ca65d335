/** What one end of a link may still send of its streams' bodies, as the other end has granted it. Pure. */
import { linkStream } from '@cognitora/protocol/ids';

export class Allowance {
  readonly #streamWindowBytes: number;
  /** By stream, the link's own among them. */
  readonly #left = new Map<number, number>();

  constructor(streamWindowBytes: number, linkWindowBytes: number) {
    this.#streamWindowBytes = streamWindowBytes;
    this.#left.set(linkStream, linkWindowBytes);
  }

  granted(stream: number, bytes: number): void {
    this.#left.set(stream, this.#of(stream) + bytes);
  }

  /** By how many bytes it went beyond, of the stream or of the link. */
  spent(stream: number, bytes: number): number {
    for (const spender of [stream, linkStream]) this.#left.set(spender, this.#of(spender) - bytes);
    return -Math.min(this.#of(stream), this.#of(linkStream));
  }

  #of(stream: number): number {
    return this.#left.get(stream) ?? this.#streamWindowBytes;
  }
}
