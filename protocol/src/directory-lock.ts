/**
 * One daemon of a kind per data directory: a file with its pid and start time (pids are used again), taken over when
 * its owner is gone. The disk is its caller's: this room has none.
 */
import { ConfigError } from './config/config-error.ts';

/** One whose parent was killed ends within a moment, and a new one may start meanwhile. */
const patienceMsDefault = 5_000;
const lookMs = 100;

/** What `node:fs` has. */
export interface LockDisk {
  mkdirSync(path: string, options: { recursive: true; mode: number }): unknown;
  readFileSync(path: string, encoding: 'utf8'): string;
  rmSync(path: string, options: { force: true }): void;
  writeFileSync(path: string, text: string, options: { flag: 'wx'; mode: number }): void;
}

/** Another one lives here: the message says what to do. */
export class DirectoryTaken extends Error {}

/** False where the file is there already. */
const isWritten = (disk: LockDisk, path: string, text: string): boolean => {
  try {
    disk.writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') return false;
    throw thrown;
  }
};

export class DirectoryLock {
  readonly #program: string;
  readonly #pid: number;
  readonly #disk: LockDisk;

  constructor({ program, pid, disk }: { program: string; pid: number; disk: LockDisk }) {
    this.#program = program;
    this.#pid = pid;
    this.#disk = disk;
  }

  /** Resolves with what releases the directory again. Throws `DirectoryTaken`, and `ConfigError` where none can be. */
  async take(directory: string, patienceMs = patienceMsDefault): Promise<() => void> {
    try {
      return await this.#take(directory, patienceMs);
    } catch (thrown) {
      if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
      const why = `The data directory ${directory} cannot be used (${thrown.message})`;
      throw new ConfigError(`${why}; name another with --data-dir DIR.`);
    }
  }

  /** The pid of the one that uses the directory now; undefined: none does. */
  ownerIn(directory: string): number | undefined {
    const owner = this.#textOf(this.#pathIn(directory)) ?? '';
    return this.#isAlive(owner) ? parseInt(owner, 10) : undefined;
  }

  async #take(directory: string, patienceMs: number): Promise<() => void> {
    const path = this.#pathIn(directory);
    this.#disk.mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (let waitedMs = 0; ; waitedMs += lookMs) {
      if (isWritten(this.#disk, path, this.#ownerLine(this.#pid) ?? '')) return () => this.#release(path);
      const owner = this.#textOf(path) ?? '';
      const [pid = ''] = owner.split(' ');
      // A file that is not whole yet belongs to one that starts just now.
      if (waitedMs > 0 && !this.#isAlive(owner)) this.#disk.rmSync(path, { force: true });
      else if (waitedMs >= patienceMs) {
        const who = `Another ${this.#program} (pid ${pid}) uses ${directory}`;
        throw new DirectoryTaken(`${who}; give this one its own with --data-dir DIR.`);
      }
      await new Promise((accept) => setTimeout(accept, lookMs));
    }
  }

  /** Who was taken for gone and lost it takes it from nobody. */
  #release(path: string): void {
    if (this.#textOf(path) === this.#ownerLine(this.#pid)) this.#disk.rmSync(path, { force: true });
  }

  #isAlive(owner: string): boolean {
    return owner !== '' && this.#ownerLine(parseInt(owner, 10)) === owner;
  }

  /** A process that runs, as no other one will be: its pid and when it started. */
  #ownerLine(pid: number): string | undefined {
    const stat = this.#textOf(`/proc/${pid}/stat`);
    return stat && `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}\n`;
  }

  /** Undefined where there is no such file. */
  #textOf(path: string): string | undefined {
    try {
      return this.#disk.readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  }

  #pathIn(directory: string): string {
    return `${directory}/${this.#program}.lock`;
  }
}
