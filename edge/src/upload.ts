/**
 * A request's body as it comes in, and the patience with it: bytes buy time at a floor rate, never more than
 * `uploadPatienceMs` ahead, so that neither silence nor a trickle nor a fast start followed by one keeps a body open.
 * Knows nothing of budgets, keeps no bytes.
 *
 *   patience  15 s |\      /|\                  full at the start; drained by the clock,
 *                  |  \  /  |  \                filled by what comes; `upload_timeout` when it is empty
 *             0    +------------\---
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { discardBytesMax, uploadBytesPerSecondMin, uploadPatienceMs } from '@cognitora/protocol/limits';
import { systemClock } from './clock.ts';

/** Until when more has to come, after `bytes` came at `nowMs`. */
const patientUntilMs = (dueMs: number, bytes: number, nowMs: number): number =>
  Math.min(dueMs + (bytes / uploadBytesPerSecondMin) * 1000, nowMs + uploadPatienceMs);

const timeIsUp = (): CognitoraError =>
  new CognitoraError('total_timeout', "The request's time was up before its body had come.");

const tooSlow = (): CognitoraError =>
  new CognitoraError(
    'upload_timeout',
    `The request body came too slowly: send at least ${uploadBytesPerSecondMin / 1024} KiB/s, ` +
      `and never nothing for ${uploadPatienceMs / 1000} s.`,
  );

export class Upload {
  /** What `content-length` says; undefined when it says nothing. */
  readonly announcedBytes: number | undefined;
  readonly #reader: ReadableStreamBYOBReader | undefined;
  readonly #deadlineMs: number;
  #dueMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failure: CognitoraError | undefined;
  #readBytes = 0;

  /** Beyond `deadlineMs`, by the system's clock, it fails with `total_timeout`. */
  constructor(request: Request, deadlineMs = Number.POSITIVE_INFINITY) {
    this.#deadlineMs = deadlineMs;
    const announced = Number(request.headers.get('content-length') ?? Number.NaN);
    this.announcedBytes = Number.isSafeInteger(announced) && announced >= 0 ? announced : undefined;
    // The runtime's stream of an empty body is of another kind.
    if (announced !== 0) this.#reader = request.body?.getReader({ mode: 'byob' });
    this.#dueMs = systemClock() + uploadPatienceMs;
    if (this.#reader !== undefined) this.#watch();
  }

  /** How much of the patience with it is used up. */
  lateMs(nowMs: number): number {
    return nowMs + uploadPatienceMs - this.#dueMs;
  }

  /** Reads into `view` and takes its buffer over; the answer lies in the same bytes, and is empty at the end. */
  async read(view: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#reader === undefined || this.#readBytes === this.announcedBytes) return view.subarray(0, 0);
    const { done, value } = await this.#next(this.#reader, view);
    if (this.#failure !== undefined) throw this.#failure;
    // A connection that ends early looks like a body that ends.
    if (value === undefined || (done && this.announcedBytes !== undefined)) throw this.#fail(brokeOff());
    this.#readBytes += value.length;
    this.#dueMs = patientUntilMs(this.#dueMs, value.length, systemClock());
    return value as Uint8Array<ArrayBuffer>;
  }

  /** Reads what still comes and keeps none of it; never throws. Bounded: the client of a longer one is cut off. */
  async discard(): Promise<void> {
    if (this.#failure !== undefined) return;
    const endBytes = this.#readBytes + discardBytesMax;
    try {
      let view = new Uint8Array(discardPartBytes);
      while (this.#readBytes <= endBytes) {
        const { length, buffer } = await this.read(view);
        if (length === 0) return;
        view = new Uint8Array(buffer);
      }
    } catch {
      // It broke off, or was too slow for this, too.
    }
  }

  /** Nothing more will be read. */
  close(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #next(
    reader: ReadableStreamBYOBReader,
    view: Uint8Array,
  ): Promise<ReadableStreamReadResult<Uint8Array>> {
    try {
      return await reader.read(view);
    } catch {
      throw this.#failure ?? this.#fail(brokeOff());
    }
  }

  #fail(failure: CognitoraError): CognitoraError {
    this.#failure = failure;
    return failure;
  }

  /** One timer for the whole body: it looks again when there was progress since. */
  #watch(): void {
    const untilMs = Math.min(this.#dueMs, this.#deadlineMs);
    this.#timer = setTimeout(() => {
      const nowMs = systemClock();
      if (nowMs < Math.min(this.#dueMs, this.#deadlineMs)) {
        this.#watch();
        return;
      }
      this.#timer = undefined;
      this.#fail(nowMs >= this.#deadlineMs ? timeIsUp() : tooSlow());
      // The read that waits ends with this.
      this.#reader?.cancel().catch(() => {});
    }, untilMs - systemClock());
  }
}

const brokeOff = (): CognitoraError => new CognitoraError('client_gone', 'The request body broke off.');

/** Read again and again into one buffer. */
const discardPartBytes = 64 * 1024;

/**
 * Reads what the client still sends of a refused request, and keeps none of it: a connection that closes on unread
 * bytes is reset, and most clients would see that instead of the refusal.
 */
export const discardBody = async (request: Request): Promise<void> => {
  if (request.body === null || request.bodyUsed) return;
  const upload = new Upload(request);
  await upload.discard();
  upload.close();
};
