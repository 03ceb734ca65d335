/**
 * One at a time between processes: whoever holds a file's lock works, the others wait for it. The kernel keeps the lock
 * and lets go of it with its process, however that ends, so that no lock is ever stale and none is ever taken away.
 * SQLite is used for nothing but that: Node has no other way to lock a file. The empty file stays behind; removing it
 * would let two processes hold locks on two files of one name.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { lockLookMs } from '../limits.ts';
import { messageOf } from '../log.ts';

export interface Lock {
  readonly path: string;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Called once, when another one holds it. */
  readonly onWait: () => void;
}

const sqliteBusy = 5;

export async function exclusively<T>(lock: Lock, work: () => Promise<T>): Promise<T> {
  // Loaded only here: most starts find everything on disk and need no lock.
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(lock.path, { timeout: 0 });
  const take = (): boolean => {
    try {
      database.exec('BEGIN EXCLUSIVE');
      return true;
    } catch (error) {
      if (error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy) return false;
      throw new Error(`${lock.path} can't be locked: ${messageOf(error)}`);
    }
  };
  try {
    if (!take()) {
      lock.onWait();
      do await sleep(lockLookMs, undefined, { signal: lock.signal });
      while (!take());
    }
    return await work();
  } finally {
    database.close();
  }
}
