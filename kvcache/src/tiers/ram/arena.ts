/**
 * Memory that values lie in: off V8's heap, and on Linux one that a program of the same user can map too, so that it is
 * handed a value without a copy. Such memory has no name in any directory: nothing is left behind by whatever end, and
 * it is not bound to the size of `/dev/shm`, which is 64 MiB in containers. Pages cost memory once they are written.
 */
import { ftruncateSync } from 'node:fs';
import koffi from 'koffi';

export interface Arena {
  readonly bytes: Buffer;
  /** Where a program of this user opens the same bytes; undefined where the system has no such memory. */
  readonly path: string | undefined;
}

/** `memfd_create(2)`: closed in children. */
const closeOnExec = 1;
/** `mmap(2)` on Linux. */
const readWrite = 1 | 2;
const shared = 1;

interface Mapped {
  create(name: string, flags: number): number;
  map(address: null, length: number, protection: number, flags: number, fd: number, offset: number): unknown;
}

/** The C library's two calls; undefined where there are none such. */
const mappedOf = (): Mapped | undefined => {
  if (process.platform !== 'linux') return undefined;
  try {
    const library = koffi.load('libc.so.6');
    return {
      create: library.func('int memfd_create(const char *name, unsigned int flags)') as Mapped['create'],
      map: library.func('void *mmap(void *, size_t, int, int, int, int64_t)') as Mapped['map'],
    };
  } catch {
    // Another C library (musl): values are handed out by copy.
    return undefined;
  }
};

/** So much zeroed memory, at most 4 GiB. Throws what the system says when there is none. */
export const openArena = (bytes: number): Arena => {
  const mapped = mappedOf();
  const fd = mapped?.create('cognitora-kv', closeOnExec) ?? -1;
  if (mapped === undefined || fd < 0) return { bytes: Buffer.alloc(bytes), path: undefined };
  ftruncateSync(fd, bytes);
  const address = mapped.map(null, bytes, readWrite, shared, fd, 0);
  if (koffi.address(address) === 2n ** 64n - 1n)
    throw new Error(`the system maps no ${bytes} bytes of memory`);
  return { bytes: Buffer.from(koffi.view(address, bytes)), path: `/proc/${process.pid}/fd/${fd}` };
};
