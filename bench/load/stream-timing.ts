/**
 * When the events of one SSE response arrived, from nothing but the number of body bytes: events of the
 * script have one length, so the n-th is here once n lengths are. SSE comments in front (an edge that had to
 * commit its headers) would shift that, so they make the byte check fail rather than count as a first byte.
 * Pure; reused per request.
 */

export class StreamTiming {
  readonly #eventBytes: number;
  readonly #events: number;
  readonly #arrivalsUs: Float64Array;
  #arrived = 0;
  bodyBytes = 0;
  startedUs = 0;
  /** First byte of SSE data. */
  firstDataUs = Number.NaN;
  endedUs = Number.NaN;

  constructor(eventBytes: number, events: number) {
    this.#eventBytes = eventBytes;
    this.#events = events;
    this.#arrivalsUs = new Float64Array(events);
  }

  /** Last byte of each event that is here. */
  get arrivalsUs(): Float64Array {
    return this.#arrivalsUs.subarray(0, this.#arrived);
  }

  start(nowUs: number): void {
    this.startedUs = nowUs;
    this.firstDataUs = Number.NaN;
    this.endedUs = Number.NaN;
    this.bodyBytes = 0;
    this.#arrived = 0;
  }

  data(bytes: number, nowUs: number): void {
    if (this.bodyBytes === 0) this.firstDataUs = nowUs;
    this.bodyBytes += bytes;
    const whole = Math.min(this.#events, Math.floor(this.bodyBytes / this.#eventBytes));
    while (this.#arrived < whole) {
      this.#arrivalsUs[this.#arrived] = nowUs;
      this.#arrived += 1;
    }
  }

  end(nowUs: number): void {
    this.endedUs = nowUs;
  }
}
