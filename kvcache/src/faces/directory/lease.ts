/**
 * Whether anybody has a file open for writing, which only the kernel knows: it grants a read lease where nobody has.
 * The lease is given back at once. A writer that opens the file in these microseconds waits for that and we are told
 * by a signal; it is one that programs ignore, instead of SIGIO, which ends them.
 */
import koffi from 'koffi';

/** `fcntl(2)` on Linux. */
const setSignal = 10;
const setLease = 1024;
const readLease = 0;
const noLease = 2;
const sigurg = 23;

type Fcntl = (fd: number, command: number, argument: number) => number;

let loaded: Fcntl | undefined;

const fcntl = (): Fcntl => {
  loaded ??= koffi.load('libc.so.6').func('int fcntl(int, int, int)') as Fcntl;
  return loaded;
};

/** For a file that is open for reading. Undefined: it is another user's, or its file system knows no leases. */
export const isOpenForWriting = (fd: number): boolean | undefined => {
  try {
    const call = fcntl();
    call(fd, setSignal, sigurg);
    if (call(fd, setLease, readLease) === 0) {
      call(fd, setLease, noLease);
      return false;
    }
    return koffi.errno() === koffi.os.errno.EAGAIN ? true : undefined;
  } catch {
    // Another C library (musl).
    return undefined;
  }
};
