/**
 * The file of a Unix socket: for this user alone, and one that an earlier run left behind is taken away, but only when
 * nobody answers on it. Owns no server.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

const answerMsMax = 2_000;

export class SocketTaken extends Error {}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';

const isAnswered = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    const tell = (is: boolean) => (): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', tell(true));
    // Who accepts nobody in that time may be busy: it is there.
    socket.setTimeout(answerMsMax, tell(true));
    socket.once('error', (error) => tell(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT')());
  });

/** Throws `SocketTaken` where there is no place for a socket. */
export const refuseTaken = async (path: string): Promise<void> => {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new SocketTaken(`${path} is there and is no socket; name another`);
  if (await isAnswered(path)) throw new SocketTaken(`another kvcached answers on ${path}`);
};

/** Resolves when it listens. Throws `SocketTaken`, or what the system says. */
export const listenOnSocketFile = async (server: Server, path: string): Promise<void> => {
  await refuseTaken(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(path, { force: true });
  // Nobody else may connect in the moment before the mode is set.
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
};
