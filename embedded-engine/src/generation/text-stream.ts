/**
 * From token bytes to text that may be sent: holds back incomplete UTF-8 and anything that may yet turn into
 * a stop string, and cuts at the first stop string. Pure; one per choice.
 *
 *   bytes -> complete characters -> [ sent ............ | held: could begin a stop string ]
 */

/** Length of the longest end of `text` that is a proper beginning of one of the stop strings. */
function heldLength(text: string, stops: readonly string[]): number {
  let held = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > held; length--) {
      if (text.endsWith(stop.slice(0, length))) {
        held = length;
        break;
      }
    }
  }
  return held;
}

function firstStop(text: string, stops: readonly string[]): number {
  let first = -1;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (first < 0 || at < first)) first = at;
  }
  return first;
}

export class TextStream {
  readonly #stops: readonly string[];
  // The byte order mark is a character like any other here: a decoder that drops it would lose text.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #pending = '';
  #sentChars = 0;
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** True once a stop string was found; nothing comes out any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Characters returned so far. */
  get sentChars(): number {
    return this.#sentChars;
  }

  /** Characters decoded so far, sent or held: where the text of the next token begins. */
  get decodedChars(): number {
    return this.#sentChars + this.#pending.length;
  }

  /** Takes the bytes of one token; returns the text that is now safe to send. */
  push(bytes: Uint8Array): string {
    if (this.#stopped) return '';
    this.#pending += this.#decoder.decode(bytes, { stream: true });
    const stop = firstStop(this.#pending, this.#stops);
    if (stop >= 0) {
      this.#stopped = true;
      return this.#release(stop);
    }
    return this.#release(this.#pending.length - heldLength(this.#pending, this.#stops));
  }

  /** The rest, when generation ends without a stop string. An unfinished character is dropped. */
  end(): string {
    return this.#stopped ? '' : this.#release(this.#pending.length);
  }

  #release(length: number): string {
    const text = this.#pending.slice(0, length);
    this.#pending = this.#stopped ? '' : this.#pending.slice(length);
    this.#sentChars += text.length;
    return text;
  }
}
