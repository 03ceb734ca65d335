/**
 * A connection whose bytes are read where its owner says: the kernel writes a value into the memory that it stays in,
 * and all else into one buffer that connections share, since what is in it is used up before the next read. Node has
 * this for sockets that one makes (`onread`), not for those that a server accepts, which are made anew here over the
 * same handle. Knows no protocol.
 */
import { type Server, Socket } from 'node:net';

/** As Redis reads: of a long value that is not known to come yet no more has to be copied. */
const sharedBytes = 16 * 1024;
const shared = Buffer.allocUnsafeSlow(sharedBytes);

export interface DirectReader {
  /** Where the next bytes go, asked before each read; undefined for anywhere. Stays valid until they came. */
  readonly target: () => Buffer | undefined;
  /** So many bytes came to where `target` said. */
  readonly onTaken: (bytes: number) => void;
  /** Bytes came that are gone when this returns. */
  readonly onBytes: (bytes: Buffer) => void;
}

/** What Node's sockets have and its types do not tell. */
interface Accepted {
  _handle: object | null;
  _server: Server | null;
  server?: Server | null;
}

/**
 * The same connection, for a server with `pauseOnConnect`; the accepted socket is left empty. Its reader is made with
 * the socket, and is asked first when it is resumed.
 */
export const directSocket = (accepted: Socket, readerOf: (socket: Socket) => DirectReader): Socket => {
  const from = accepted as unknown as Accepted;
  const { _handle: handle, _server: server } = from;
  if (handle === null || handle === undefined) throw new Error('a connection without a handle');
  let reader: DirectReader | undefined;
  let into: Buffer = shared;
  const buffer = (): Buffer => {
    into = reader?.target() ?? shared;
    return into;
  };
  const callback = (bytes: number): boolean => {
    if (into === shared) reader?.onBytes(shared.subarray(0, bytes));
    else reader?.onTaken(bytes);
    return true;
  };
  const socket = new Socket({ handle, pauseOnCreate: true, onread: { buffer, callback } } as object);
  // The server counts its connections by what these end.
  Object.assign(socket, { server, _server: server });
  Object.assign(from, { _handle: null, _server: null, server: null });
  reader = readerOf(socket);
  socket.resume();
  return socket;
};
