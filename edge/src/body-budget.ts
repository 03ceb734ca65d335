/**
 * Request bodies in memory: how large one may be, and how many bytes all of them may hold in this isolate at once.
 * What counts is what has arrived and was not sent on yet: a body that is only announced holds nothing, and a large one
 * lets go of each part as it goes. While the budget is full, the body that is most behind makes room.
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { bodyPartBytes, firstBodyPartBytes, replayBytesMax, uploadYieldMs } from '@cognitora/protocol/limits';
import { systemClock } from './clock.ts';
import { Upload } from './upload.ts';

export interface BodyBounds {
  readonly bytesMax: number;
  /** For all bodies together. */
  readonly bytesInFlightMax: number;
  /** For all bodies that are kept while they are answered. */
  readonly bytesKeptMax: number;
}

/** Bytes held per live body; the sum is derived from it. */
const held = new Map<HeldBody, number>();
let heldBytes = 0;

/** Of those that are kept to be sent once more. */
const kept = new Map<HeldBody, number>();
let keptBytes = 0;

const hold = (body: HeldBody, bytes: number): void => {
  heldBytes += bytes - (held.get(body) ?? 0);
  held.set(body, bytes);
};

const letGo = (body: HeldBody): void => {
  heldBytes -= held.get(body) ?? 0;
  held.delete(body);
  keptBytes -= kept.get(body) ?? 0;
  kept.delete(body);
};

/** What all bodies take of their budgets now. */
export const bodyBytesTaken = (): { readonly held: number; readonly kept: number } => ({
  held: heldBytes,
  kept: keptBytes,
});

/** Of the bodies that still come, the one with the least patience left, if it has used up enough of it. */
const mostBehind = (nowMs: number): HeldBody | undefined => {
  let most: HeldBody | undefined;
  let lateMs = uploadYieldMs;
  for (const body of held.keys()) {
    if (body.lateMs(nowMs) <= lateMs) continue;
    most = body;
    lateMs = body.lateMs(nowMs);
  }
  return most;
};

const overBudget = (): CognitoraError =>
  new CognitoraError('over_budget', 'Too many request bytes are in flight. Try again shortly.', {
    retryAfterSeconds: 1,
  });

const tooLarge = (bytesMax: number): CognitoraError =>
  new CognitoraError('body_too_large', `The request body may have at most ${bytesMax} bytes.`);

/** Holds `bytes` for a body, at the cost of others that are behind. Throws `over_budget`. */
const claim = (body: HeldBody, bytes: number, bytesInFlightMax: number): void => {
  const nowMs = systemClock();
  while (heldBytes - (held.get(body) ?? 0) + bytes > bytesInFlightMax) {
    const other = mostBehind(nowMs);
    if (other === undefined || other === body) throw overBudget();
    other.giveWay();
  }
  hold(body, bytes);
};

/** In the place of a part that is gone. */
const nothing = new Uint8Array();

/** Frees the memory of parts now, not when garbage is collected: V8 lets 64 MiB of it pile up. */
const free = (parts: Uint8Array<ArrayBuffer>[], from: number, to: number): void => {
  for (const { buffer } of parts.slice(from, to)) buffer.transfer(0);
  parts.fill(nothing, from, to);
};

/** A body that is here. Whoever read it releases it. */
export class HeldBody {
  readonly #bounds: BodyBounds;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #byteLength = 0;
  /** While it comes. */
  #upload: Upload | undefined;
  #gaveWay = false;
  /** Once it is being sent. */
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #isWhole = true;

  constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  /** Its bytes in order: one part of a small body, several of a large one. */
  get parts(): readonly Uint8Array[] {
    return this.#parts;
  }

  /** All of its bytes, of one that is whole. */
  get bytes(): Uint8Array {
    return joinBytes(this.#parts);
  }

  /** Whether all of it is still here, to be sent once more. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** How much patience it has used up while it comes. */
  lateMs(nowMs: number): number {
    return this.#upload?.lateMs(nowMs) ?? 0;
  }

  /** Makes room for another body; its own reader hears of it with the next bytes. */
  giveWay(): void {
    this.#gaveWay = true;
    this.release();
  }

  /**
   * It is being answered, and waits in case that it is needed once more. False: it is gone, since it is too large for
   * that, or too many are kept.
   */
  keep(): boolean {
    const bytes = this.#byteLength;
    const { bytesKeptMax } = this.#bounds;
    if (kept.has(this)) return true;
    const mayStay = this.#isWhole && bytes <= replayBytesMax && keptBytes + bytes <= bytesKeptMax;
    if (!mayStay || this.#parts.length === 0) {
      this.#isWhole = false;
      this.release();
      return false;
    }
    letGo(this);
    kept.set(this, bytes);
    keptBytes += bytes;
    return true;
  }

  /** The bytes are no longer needed; twice means nothing. What is being sent goes on to its end. */
  release(): void {
    letGo(this);
    // What went out in one piece may still be in use.
    if (this.#parts.length > 1 && this.#writer === undefined) free(this.#parts, 0, this.#parts.length);
    this.#parts = [];
  }

  /** Reads an upload to its end. */
  async fill(upload: Upload): Promise<void> {
    this.#upload = upload;
    let partBytes = firstBodyPartBytes;
    let hasMore = true;
    while (hasMore) {
      const dueBytes = (upload.announcedBytes ?? Number.POSITIVE_INFINITY) - this.#byteLength;
      hasMore = dueBytes > 0 && (await this.#readPart(upload, Math.min(dueBytes, partBytes)));
      partBytes = bodyPartBytes;
    }
    this.#upload = undefined;
  }

  /** Reads one part, and tells whether it could be filled. */
  async #readPart(upload: Upload, bytes: number): Promise<boolean> {
    const { bytesMax, bytesInFlightMax } = this.#bounds;
    let buffer = new ArrayBuffer(bytes);
    let filled = 0;
    while (filled < bytes) {
      const read = await upload.read(new Uint8Array(buffer, filled));
      if (this.#gaveWay) throw overBudget();
      buffer = read.buffer;
      if (read.length === 0) break;
      filled += read.length;
      this.#byteLength += read.length;
      if (this.#byteLength > bytesMax) throw tooLarge(bytesMax);
      claim(this, this.#byteLength, bytesInFlightMax);
    }
    if (filled > 0) this.#parts.push(new Uint8Array(buffer, 0, filled));
    return filled === bytes;
  }

  /** The body as one to send: a small one as it is, a large one as a stream that lets go of what has gone. */
  toSend(): Uint8Array | ReadableStream<Uint8Array> {
    if (this.#parts.length <= 1) return this.#parts[0] ?? nothing;
    const { readable, writable } = new FixedLengthStream(this.#byteLength);
    // An attempt that failed may still read; it must not use up what the next one sends.
    this.#writer?.abort().catch(() => {});
    this.#writer = writable.getWriter();
    void this.#feed(this.#writer);
    return readable;
  }

  /** Up to `replayBytesMax` it keeps what it wrote: who refuses a request does so before. */
  async #feed(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    const parts = this.#parts;
    let goneBytes = 0;
    let freed = 0;
    try {
      for (const [index, part] of parts.entries()) {
        goneBytes += part.length;
        await writer.write(part);
        if (this.#writer !== writer) return;
        if (goneBytes <= replayBytesMax) continue;
        this.#isWhole = false;
        free(parts, freed, index + 1);
        freed = index + 1;
        if (held.has(this)) hold(this, this.#byteLength - goneBytes);
      }
      await writer.close();
    } catch {
      // Nobody reads the rest.
    }
  }
}

/**
 * Reads a request's body, by `deadlineMs` at the latest. Throws `body_too_large`, `over_budget`, `upload_timeout`,
 * `total_timeout` or `client_gone`; by then what the client still sent is read and dropped, see `discardBody`.
 */
export const readBody = async (
  request: Request,
  bounds: BodyBounds,
  deadlineMs?: number,
): Promise<HeldBody> => {
  const upload = new Upload(request, deadlineMs);
  const body = new HeldBody(bounds);
  try {
    if ((upload.announcedBytes ?? 0) > bounds.bytesMax) throw tooLarge(bounds.bytesMax);
    await body.fill(upload);
    return body;
  } catch (thrown) {
    body.release();
    await upload.discard();
    throw thrown;
  } finally {
    upload.close();
  }
};

/** Reads a body that is used up at once, in one array. */
export const readSmallBody = async (request: Request, bounds: BodyBounds): Promise<Uint8Array> => {
  const body = await readBody(request, bounds);
  const bytes = joinBytes(body.parts);
  body.release();
  return bytes;
};
