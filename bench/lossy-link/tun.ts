/**
 * Linux' calls that the relay needs and Node has not: network namespaces, TUN devices and their packets, and a wait for
 * any of them. All of them block or return at once; a namespace is that of the calling thread.
 */
import { constants, openSync } from 'node:fs';
import koffi from 'koffi';

const library = koffi.load('libc.so.6');
type Call = (...operands: (number | Buffer | null)[]) => number;
const unshare = library.func('int unshare(int flags)') as Call;
const ioctl = library.func('int ioctl(int fd, unsigned long request, void *argument)') as Call;
const readCall = library.func('int64_t read(int fd, void *buffer, size_t bytes)') as Call;
const writeCall = library.func('int64_t write(int fd, void *buffer, size_t bytes)') as Call;
const ppoll = library.func('int ppoll(void *fds, unsigned long count, void *wait, void *mask)') as Call;

/** `CLONE_NEWNET`, sched.h */
const newNetwork = 0x4000_0000;
/** `TUNSETIFF`, linux/if_tun.h, and its flags: IP packets, nothing before them. */
const setInterface = 0x4004_54ca;
const tunWithoutHeader = 0x0001 | 0x1000;
const interfaceRequestBytes = 40;
const nameBytes = 16;
const pollIn = 0x0001;
const pollEntryBytes = 8;

const failure = (what: string): Error => new Error(`${what}: errno ${koffi.errno()}`);

/** This thread goes into a network namespace of its own, empty but for a loopback device that is down. */
export const enterNewNetwork = (): void => {
  if (unshare(newNetwork) !== 0) throw failure('unshare(CLONE_NEWNET)');
};

/** Keeps this thread's network namespace, for `nsenter --net=/proc/PID/fd/N`. */
export const openNetwork = (): number => openSync('/proc/thread-self/ns/net', constants.O_RDONLY);

/** A new TUN device in this thread's namespace. Reads do not wait. */
export const openTun = (name: string): number => {
  const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  const request = Buffer.alloc(interfaceRequestBytes);
  request.write(name, 0, nameBytes - 1, 'latin1');
  request.writeUInt16LE(tunWithoutHeader, nameBytes);
  if (ioctl(fd, setInterface, request) !== 0) throw failure(`TUNSETIFF ${name}`);
  return fd;
};

/** Bytes of the packet; 0 when there is none. */
export const readPacket = (fd: number, into: Buffer): number => Math.max(0, readCall(fd, into, into.length));

/** False when the kernel did not take it. */
export const writePacket = (fd: number, packet: Buffer, bytes: number): boolean =>
  writeCall(fd, packet, bytes) === bytes;

/** Waits for any of a few files to be readable. */
export class Readable {
  readonly #entries: Buffer;
  readonly #timeout = Buffer.alloc(16);
  readonly #count: number;

  constructor(fds: readonly number[]) {
    this.#count = fds.length;
    this.#entries = Buffer.alloc(fds.length * pollEntryBytes);
    for (const [index, fd] of fds.entries()) {
      this.#entries.writeInt32LE(fd, index * pollEntryBytes);
      this.listen(index, true);
    }
  }

  listen(index: number, isWanted: boolean): void {
    this.#entries.writeInt16LE(isWanted ? pollIn : 0, index * pollEntryBytes + 4);
  }

  /** Until one is readable or so much time went by. */
  wait(us: number): void {
    this.#timeout.writeBigInt64LE(BigInt(Math.floor(us / 1e6)), 0);
    this.#timeout.writeBigInt64LE(BigInt(Math.round((us % 1e6) * 1e3)), 8);
    ppoll(this.#entries, this.#count, this.#timeout, null);
  }

  /** It has bytes, or its other end is closed. */
  isReady(index: number): boolean {
    return this.#entries.readInt16LE(index * pollEntryBytes + 6) !== 0;
  }
}
