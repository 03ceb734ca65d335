/**
 * What a signal to stop means that a process got before: one may come twice at once, from its process group and again
 * from whoever passes signals on (npm, `cgn agent`), and only a person's second one means "at once". Owns no clock.
 */

/** So long after the first one any other is the same: a busy machine passes it on late. */
const echoMsMax = 1_000;

export class RepeatedSignals {
  #firstMs: number | undefined;

  heard(nowMs: number): 'first' | 'echo' | 'again' {
    if (this.#firstMs === undefined) {
      this.#firstMs = nowMs;
      return 'first';
    }
    return nowMs - this.#firstMs < echoMsMax ? 'echo' : 'again';
  }
}
