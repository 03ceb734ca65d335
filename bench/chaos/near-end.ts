/** The near end of a host's network: passes what comes over it on to a socket of the file system. */
import { connect, createServer, type Socket } from 'node:net';
import { serveCommands } from '../machine/worker-process.ts';

export interface NearEndStart {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

const pass = (from: Socket, to: Socket): void => {
  from.on('error', () => from.destroy());
  from.once('close', () => to.destroy());
  from.pipe(to);
};

serveCommands<NearEndStart, true>(async ({ host, port, path }) => {
  const server = createServer({ noDelay: true }, (far) => {
    const near = connect(path);
    pass(far, near);
    pass(near, far);
    near.once('close', () => far.resetAndDestroy());
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  return true;
});
