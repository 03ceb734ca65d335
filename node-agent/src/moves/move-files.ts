/**
 * The files through which states go in and out of an engine, in the directory that it shares with its agent. An engine
 * sees a file only under its last name, which it gets when every byte was checked. Nothing stays: each file is gone
 * when its move is over, and what an earlier agent left behind when a replica comes up.
 */
import { randomUUID } from 'node:crypto';
import { lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type EnvelopeHead, EnvelopeReader, payloadBytesMax } from './envelope.ts';
import { readPlain } from './plain-file.ts';

const namePattern = /^cgn-[0-9a-f-]{36}\.kv(?:\.part)?$/;
/** No move takes longer. */
const fileMsMax = 600_000;

export class MoveFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Runs something with a name that is no file yet, and will be none afterwards. */
  async withName<Result>(work: (name: string) => Promise<Result>): Promise<Result> {
    const name = `cgn-${randomUUID()}.kv`;
    try {
      return await work(name);
    } finally {
      await rm(this.#pathOf(name), { force: true });
    }
  }

  /** Undefined: there is no such file here, or it is no plain one. */
  async bytesOf(name: string): Promise<number | undefined> {
    const found = await lstat(this.#pathOf(name)).catch(() => undefined);
    return found?.isFile() ? found.size : undefined;
  }

  read(name: string): AsyncIterable<Uint8Array> {
    return readPlain(this.#pathOf(name));
  }

  /** Writes an envelope's payload under `name`, once it proved to be what it says. Throws `EnvelopeRefused`. */
  async unseal(
    name: string,
    fingerprint: Uint8Array,
    envelope: AsyncIterable<Uint8Array>,
  ): Promise<EnvelopeHead> {
    const part = `${this.#pathOf(name)}.part`;
    const reader = new EnvelopeReader(fingerprint);
    try {
      // The engine may run as somebody else of the agent's group.
      const file = await open(part, 'wx', 0o640);
      try {
        for await (const piece of envelope) await file.writeFile(reader.push(piece));
      } finally {
        await file.close();
      }
      const head = reader.end();
      await rename(part, this.#pathOf(name));
      return head;
    } finally {
      await rm(part, { force: true });
    }
  }

  /** Of agents that ended in the middle of a move. */
  async removeOld(nowMs: number): Promise<void> {
    for (const name of await readdir(this.#directory).catch(() => [])) {
      if (!namePattern.test(name)) continue;
      const found = await lstat(this.#pathOf(name)).catch(() => undefined);
      if (found?.isFile() && nowMs - found.mtimeMs > fileMsMax) await rm(this.#pathOf(name), { force: true });
    }
  }

  #pathOf(name: string): string {
    return join(this.#directory, name);
  }
}

/** Whether a file of that size may become a payload. */
export const fitsEnvelope = (bytes: number): boolean => bytes > 0 && bytes <= payloadBytesMax;
