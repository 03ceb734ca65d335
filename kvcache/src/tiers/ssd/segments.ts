/**
 * The files of a disk tier: segments that are written from their beginning to their end, once, and go as a whole. With
 * O_DIRECT where the file system has it: what is cached here is cached by us, not by the kernel as well. Knows pages
 * and segments; what stands in them is `record.ts`. A file system that has no room or fails is told by the error.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { headerBytes } from './record.ts';

const pattern = /^(\d{12})\.kv$/;
const nameOf = (segment: number): string => `${String(segment).padStart(12, '0')}.kv`;

interface Segment {
  readonly number: number;
  readonly file: FileHandle;
  bytes: number;
  /** Reads and writes under way: a file is closed by the last of them. */
  users: number;
  isDropped: boolean;
}

export interface SegmentsOptions {
  readonly directory: string;
  /** All files together never take more. */
  readonly bytesMax: number;
  readonly segmentBytes: number;
}

/** Opens with O_DIRECT if that works here at all. */
const openFile = async (path: string, flags: number): Promise<FileHandle> => {
  try {
    return await open(path, flags | (constants.O_DIRECT ?? 0), 0o600);
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EINVAL')) throw thrown;
    return open(path, flags, 0o600);
  }
};

export class Segments {
  readonly #options: SegmentsOptions;
  /** From the oldest to the one that is written. */
  readonly #segments: Segment[] = [];
  #bytes = 0;
  /** The highest number that any name here has had: what is no file of ours keeps its own. */
  #latest = 0;
  /** Only what this run began is written: an earlier one may have left a torn end. */
  #isBegun = false;

  private constructor(options: SegmentsOptions) {
    this.#options = options;
  }

  /** With the segments that are there, oldest first. */
  static async open(options: SegmentsOptions): Promise<Segments> {
    const segments = new Segments(options);
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const numbers: number[] = [];
    for (const entry of await readdir(options.directory, { withFileTypes: true })) {
      const number = Number(pattern.exec(entry.name)?.[1] ?? 0);
      segments.#latest = Math.max(segments.#latest, number);
      if (number > 0 && entry.isFile()) numbers.push(number);
    }
    for (const number of numbers.sort((left, right) => left - right)) {
      const file = await openFile(segments.#pathOf(number), constants.O_RDONLY);
      const { size } = await file.stat();
      const bytes = Math.ceil(size / headerBytes) * headerBytes;
      segments.#segments.push({ number, file, bytes, users: 0, isDropped: false });
      segments.#bytes += bytes;
    }
    return segments;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get numbers(): readonly number[] {
    return this.#segments.map(({ number }) => number);
  }

  sizeOf(segment: number): number {
    return this.#find(segment)?.bytes ?? 0;
  }

  /** The one that is written has no room for so many bytes more, or there is none. */
  isFullFor(bytes: number): boolean {
    const last = this.#segments.at(-1);
    return last === undefined || !this.#isBegun || last.bytes + bytes > this.#options.segmentBytes;
  }

  /** So many oldest ones must go before a new one can be begun. */
  get excess(): number {
    const { bytesMax, segmentBytes } = this.#options;
    let excess = 0;
    for (let bytes = this.#bytes; bytes + segmentBytes > bytesMax && excess < this.#segments.length; ) {
      bytes -= this.#segments[excess]?.bytes ?? 0;
      excess += 1;
    }
    return excess;
  }

  /** Begins a new one behind all, in a directory that somebody may have removed. Its number. */
  async begin(): Promise<number> {
    await this.sync();
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
    this.#latest += 1;
    const number = this.#latest;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    const file = await openFile(this.#pathOf(number), flags);
    this.#segments.push({ number, file, bytes: 0, users: 0, isDropped: false });
    this.#isBegun = true;
    return number;
  }

  /** Whole pages behind what is there. Where they begin. Of what fails nothing stays. */
  async append(pages: readonly Buffer[]): Promise<{ segment: number; offset: number }> {
    const segment = this.#segments.at(-1);
    if (segment === undefined || !this.#isBegun) throw new Error('no segment was begun');
    const offset = segment.bytes;
    const bytes = pages.reduce((sum, { length }) => sum + length, 0);
    segment.bytes += bytes;
    this.#bytes += bytes;
    await this.#using(segment, async () => {
      try {
        const { bytesWritten } = await segment.file.writev(pages, offset);
        if (bytesWritten !== bytes) throw new Error(`${bytesWritten} of ${bytes} bytes were written`);
      } catch (thrown) {
        await this.#cut(segment, offset);
        throw thrown;
      }
    });
    return { segment: segment.number, offset };
  }

  /** Back to what it was before a write failed: a full disk took a part of it, behind which nothing would be found. */
  async #cut(segment: Segment, bytes: number): Promise<void> {
    try {
      await segment.file.truncate(bytes);
      this.#bytes -= segment.bytes - bytes;
      segment.bytes = bytes;
    } catch {
      // It ends here, as if torn.
      this.#isBegun = false;
    }
  }

  /** Reads whole pages into a buffer of whole pages. False when the segment is gone or shorter. */
  async read(number: number, offset: number, into: Buffer): Promise<boolean> {
    const segment = this.#find(number);
    if (segment === undefined) return false;
    let at = 0;
    await this.#using(segment, async () => {
      while (at < into.length) {
        const { bytesRead } = await segment.file.read(into, at, into.length - at, offset + at);
        // At a file's end, or within a page, which O_DIRECT cannot go on from.
        if (bytesRead === 0 || bytesRead % headerBytes !== 0) break;
        at += bytesRead;
      }
    });
    return at === into.length;
  }

  /** Deletes the oldest. Who reads it may end; that it is gone is told at once, so that nobody else looks for it. */
  async dropOldest(onGone: (segment: number) => void): Promise<void> {
    const segment = this.#segments[0];
    if (segment === undefined) return;
    // First: one that cannot be removed is found by a restart, so that it counts until it is.
    await rm(this.#pathOf(segment.number), { force: true });
    this.#segments.shift();
    this.#bytes -= segment.bytes;
    segment.isDropped = true;
    onGone(segment.number);
    if (segment.users === 0) await segment.file.close();
  }

  /** All that was appended is where a loss of power leaves it. */
  async sync(): Promise<void> {
    const last = this.#segments.at(-1);
    if (last !== undefined) await this.#using(last, () => last.file.datasync());
  }

  async close(): Promise<void> {
    const open = this.#segments.splice(0);
    await Promise.all(open.map(({ file }) => file.close()));
  }

  async #using<Result>(segment: Segment, run: () => Promise<Result>): Promise<Result> {
    segment.users += 1;
    try {
      return await run();
    } finally {
      segment.users -= 1;
      if (segment.users === 0 && segment.isDropped) await segment.file.close();
    }
  }

  #find(number: number): Segment | undefined {
    return this.#segments.find((segment) => segment.number === number);
  }

  #pathOf(segment: number): string {
    return join(this.#options.directory, nameOf(segment));
  }
}
