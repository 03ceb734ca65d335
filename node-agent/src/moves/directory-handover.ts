/**
 * A hand-over in a directory that hosts share: one file an envelope, written beside and renamed, so that a reader sees
 * whole files only. Its index is what the files' heads say. Bounded in files and bytes; the oldest make room. Several
 * agents use it without a word between them: what vanishes meanwhile was not there.
 *
 *   <fingerprint, 16 hex>-<last digest, 16 hex>.kv    and while it is written    .<the same>.<random>
 */
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sharedLength } from '@cognitora/protocol/prefix/shared-length';
import {
  type EnvelopeHead,
  EnvelopeRefused,
  envelopeBytesMax,
  headBytesOf,
  headPrefixBytes,
  parseHead,
} from './envelope.ts';
import type { KvHandover, SavedPrefix } from './handover.ts';
import { openPlain, readPlain } from './plain-file.ts';

/** Each costs a look at its head once; twice as many are looked at, whose digests take 8 MiB at most. */
export const filesMax = 256;
/** Room of one of the largest envelopes and many usual ones. */
const directoryBytesMax = 64 * 1024 ** 3;
/** A burst of requests looks once. */
const lookMs = 200;
/** Who writes for longer is gone. */
const writeMsMax = 600_000;

const namePattern = /^[0-9a-f]{16}-[0-9a-f]{16}\.kv$/;
const partPattern = /^\.[0-9a-f]{16}-[0-9a-f]{16}\.kv\.[0-9a-f]{16}$/;

interface Entry {
  readonly name: string;
  readonly bytes: number;
  readonly writtenMs: number;
  /** Undefined: not to be used. */
  readonly head: EnvelopeHead | undefined;
}

export interface DirectoryHandoverOptions {
  readonly directory: string;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly filesMax?: number;
}

const fingerprintHex = (fingerprint: Uint8Array): string =>
  Buffer.from(fingerprint.subarray(0, 8)).toString('hex');

const nameOf = ({ fingerprint, digests }: EnvelopeHead): string =>
  `${fingerprintHex(fingerprint)}-${(digests.at(-1) ?? 0n).toString(16).padStart(16, '0')}.kv`;

export class DirectoryHandover implements KvHandover {
  readonly #options: DirectoryHandoverOptions;
  readonly #filesMax: number;
  readonly #entries = new Map<string, Entry>();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(options: DirectoryHandoverOptions) {
    this.#options = options;
    this.#filesMax = options.filesMax ?? filesMax;
  }

  /** What the directory holds says all. */
  serve(): void {}

  isReady(): boolean {
    return true;
  }

  rttMsTo(): undefined {}

  async has(fingerprint: Uint8Array, chain: BigUint64Array): Promise<SavedPrefix | undefined> {
    await this.#look();
    const mine = fingerprintHex(fingerprint);
    let best: SavedPrefix | undefined;
    for (const { name, bytes, head } of this.#entries.values()) {
      if (head === undefined || !name.startsWith(mine)) continue;
      const blocks = sharedLength(head.digests, chain);
      if (blocks === 0 || blocks < (best?.blocks ?? 0)) continue;
      if (blocks === best?.blocks && bytes >= best.bytes) continue;
      const tokens = Math.floor((head.tokens * blocks) / head.digests.length);
      best = { id: name, blocks, tokens, bytes };
    }
    return best;
  }

  get(id: string, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    return readWhile(this.#pathOf(id), signal);
  }

  async put(head: EnvelopeHead, envelope: AsyncIterable<Uint8Array>): Promise<void> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true });
    const name = nameOf(head);
    const part = join(directory, `.${name}.${randomBytes(8).toString('hex')}`);
    try {
      const file = await open(part, 'wx', 0o640);
      try {
        for await (const bytes of envelope) await file.writeFile(bytes);
      } finally {
        await file.close();
      }
      await rename(part, this.#pathOf(name));
    } catch (thrown) {
      await rm(part, { force: true });
      throw thrown;
    }
    await this.#lookNow();
    await this.#makeRoom(name, head);
  }

  async drop(id: string): Promise<void> {
    this.#entries.delete(id);
    await rm(this.#pathOf(id), { force: true });
  }

  #pathOf(name: string): string {
    if (!namePattern.test(name)) throw new RangeError('no name of an envelope');
    return join(this.#options.directory, name);
  }

  /** Beginnings of the newest are in it; of the others the oldest go while there are too many. */
  async #makeRoom(newest: string, head: EnvelopeHead): Promise<void> {
    const others = [...this.#entries.values()].filter(({ name }) => name !== newest);
    const needless = others.filter(
      (entry) =>
        entry.head !== undefined &&
        entry.name.startsWith(fingerprintHex(head.fingerprint)) &&
        sharedLength(entry.head.digests, head.digests) === entry.head.digests.length,
    );
    for (const { name } of needless) await this.drop(name);
    const left = others.filter((entry) => !needless.includes(entry));
    left.sort((one, other) => other.writtenMs - one.writtenMs);
    let bytes = this.#entries.get(newest)?.bytes ?? 0;
    for (const [at, entry] of left.entries()) {
      bytes += entry.bytes;
      if (at + 2 > this.#filesMax || bytes > directoryBytesMax) await this.drop(entry.name);
    }
  }

  #look(): Promise<void> {
    if (this.#options.monotonicMs() - this.#lookedMs < lookMs) return Promise.resolve();
    return this.#lookNow();
  }

  #lookNow(): Promise<void> {
    this.#looking ??= this.#readDirectory().finally(() => {
      this.#lookedMs = this.#options.monotonicMs();
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #readDirectory(): Promise<void> {
    const names = await readdir(this.#options.directory).catch(() => []);
    const found = new Set(names.filter((name) => namePattern.test(name)));
    for (const name of this.#entries.keys()) if (!found.has(name)) this.#entries.delete(name);
    // More than that is not ours to keep in memory; whoever writes next removes the oldest that it knows.
    for (const name of [...found].slice(0, 2 * this.#filesMax)) await this.#readEntry(name);
    for (const name of names) if (partPattern.test(name)) await this.#removeIfOld(name);
  }

  /** A file that was written anew under its name is read anew. */
  async #readEntry(name: string): Promise<void> {
    const path = join(this.#options.directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isFile()) {
      this.#entries.delete(name);
      return;
    }
    const { size: bytes, mtimeMs: writtenMs } = found;
    const known = this.#entries.get(name);
    if (known?.bytes === bytes && known.writtenMs === writtenMs) return;
    const head = await readHead(path).catch(() => undefined);
    const isWhole = head !== undefined && bytes <= envelopeBytesMax && nameOf(head) === name;
    this.#entries.set(name, { name, bytes, writtenMs, head: isWhole ? head : undefined });
  }

  async #removeIfOld(name: string): Promise<void> {
    const path = join(this.#options.directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isFile() || this.#options.wallMs() - found.mtimeMs < writeMsMax) return;
    await rm(path, { force: true });
  }
}

async function* readWhile(path: string, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  for await (const bytes of readPlain(path)) {
    signal?.throwIfAborted();
    yield bytes;
  }
}

const readHead = async (path: string): Promise<EnvelopeHead> => {
  const file = await openPlain(path, 'refuse');
  try {
    const prefix = Buffer.alloc(headPrefixBytes);
    await file.read(prefix, 0, prefix.length, 0);
    const head = Buffer.alloc(headBytesOf(prefix));
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    if (bytesRead < head.length) throw new EnvelopeRefused('the envelope ends within its head');
    return parseHead(head);
  } finally {
    await file.close();
  }
};
