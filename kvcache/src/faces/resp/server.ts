/** Where Redis clients connect: a port or a Unix socket, of so many connections at most. Keeps no state of theirs. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { KeyWalks } from '../../key-walks.ts';
import { unnamedNamespace } from '../../namespaces.ts';
import type { KvStore } from '../../store.ts';
import { databasesMax } from './commands.ts';
import { directSocket } from './direct-socket.ts';
import { RespSession } from './session.ts';

/** LMCache opens up to 150 from each engine. */
const connectionsMax = 1_024;

export interface RespServerOptions {
  readonly store: KvStore;
  readonly listen: ListenOptions;
  /** Of databases that stand for one; each other is a namespace `db<N>`. */
  readonly namespaces?: ReadonlyMap<number, string>;
  /** Undefined: whoever reaches the socket may do all. */
  readonly password: string | undefined;
  readonly version: string;
  readonly nowMs: () => number;
  readonly onError: (thrown: unknown) => void;
}

const digestOf = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Resolves when it listens. */
export const startRespServer = async (options: RespServerOptions): Promise<Server> => {
  const { store, listen, version, nowMs, onError, namespaces = new Map() } = options;
  const walks = new KeyWalks(store);
  const prefixes = Array.from(
    { length: databasesMax },
    (_, at) => `${namespaces.get(at) ?? unnamedNamespace(at)}:`,
  );
  const prefixOf = (database: number): string => prefixes[database] ?? '';
  const password = options.password === undefined ? undefined : Buffer.from(options.password);
  const expected = digestOf(password ?? Buffer.alloc(0));
  const isPassword = (given: Buffer): boolean => timingSafeEqual(digestOf(given), expected);
  let latest = 0;
  let clients = 0;
  const startedAtMs = nowMs();
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (accepted) => {
    latest += 1;
    clients += 1;
    const facts = { store, walks, prefixOf, nowMs, version, startedAtMs, password, isPassword };
    const own = { ...facts, clients: () => clients, id: latest, onError };
    const socket = directSocket(accepted, (direct) => new RespSession(direct, own));
    socket.on('close', () => {
      clients -= 1;
    });
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', onError);
  return server;
};
