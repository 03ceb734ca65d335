/**
 * Channels over TLS 1.3 on TCP: one exchange at a time on a connection, a bounded pool of them to each peer. Both ends
 * show a certificate of the fleet's CA, and its key must be a node of the roster: of the node that was meant when
 * dialling. No tickets: each handshake shows both certificates anew.
 */
import { constants } from 'node:crypto';
import { connect, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { NodeId } from '@cognitora/protocol/ids';
import { PeerError } from './codes.ts';
import { rawOf } from './identity.ts';
import { Inbox } from './inbox.ts';
import {
  acceptedMax,
  acceptedPerPeerMax,
  channelMsMax,
  channelsWaitingMax,
  connectionsPerPeerMax,
  dialMsMax,
  idleMsMax,
} from './limits.ts';
import type {
  Certified,
  Channel,
  Credentials,
  Listener,
  ListenOptions,
  Target,
  Transport,
  Trunk,
} from './transport.ts';

const protocol = 'cognitora-kv/1';
/** What a socket is read into before it goes where it is wanted. */
const readBytes = 64 * 1024;

export const openTls = (credentials: Credentials): Transport => ({
  name: 'tls',
  listen: (options) => listen(credentials, options),
  trunk: (target) => new TlsTrunk(credentials, target),
  close: () => {},
});

const contextOf = ({ key }: Credentials, { ca, certificate }: Certified): SecureContextOptions => ({
  ca,
  cert: certificate,
  key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
});

/** The raw Ed25519 key of the certificate that the other end showed and the library verified. */
const keyShown = (socket: TLSSocket): Buffer | undefined => {
  const key = socket.getPeerX509Certificate()?.publicKey;
  return key?.asymmetricKeyType === 'ed25519' ? rawOf(key) : undefined;
};

/** By the library's code: a certificate that either end did not take is no matter of the network. */
const errorOf = (thrown: Error & { readonly code?: string }): PeerError => {
  const isOfIdentity = /CERT|SSL|TLS|ISSUER|SIGNATURE/.test(thrown.code ?? '');
  return new PeerError(isOfIdentity ? 'refused' : 'cut', thrown.message);
};

class TlsChannel implements Channel {
  readonly node: NodeId;
  readonly socket: TLSSocket;
  readonly inbox: Inbox;
  onFree: ((channel: TlsChannel) => void) | undefined;

  constructor(socket: TLSSocket, node: NodeId, inbox: Inbox) {
    this.socket = socket;
    this.node = node;
    this.inbox = inbox;
    socket.setNoDelay(true);
    socket.on('error', (thrown) => inbox.end(errorOf(thrown)));
    socket.on('end', () => inbox.end());
    socket.on('close', () => inbox.end(new PeerError('cut')));
  }

  get came(): number {
    return this.inbox.came;
  }

  fill(target: Buffer, msMax: number): Promise<boolean> {
    return this.inbox.fill(target, msMax);
  }

  write(...parts: readonly Buffer[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const isOver = (thrown?: Error | null): void => {
        if (thrown == null) resolve();
        else reject(new PeerError('cut', thrown.message));
      };
      this.socket.cork();
      for (const [index, part] of parts.entries()) {
        if (index === parts.length - 1) this.socket.write(part, isOver);
        else this.socket.write(part);
      }
      this.socket.uncork();
    });
  }

  giveBack(): void {
    if (this.inbox.isEmpty && !this.socket.destroyed && this.onFree !== undefined) this.onFree(this);
    else this.cut();
  }

  end(): void {
    this.socket.end();
  }

  /** Nothing more goes to where the reader wanted it, from this moment on. */
  cut(): void {
    this.inbox.end(new PeerError('cut'));
    this.socket.destroy();
  }
}

interface Waiting {
  readonly resolve: (channel: TlsChannel) => void;
  readonly reject: (error: PeerError) => void;
  readonly timer: NodeJS.Timeout;
}

/** The pool of connections to one peer. */
class TlsTrunk implements Trunk {
  readonly #credentials: Credentials;
  readonly #target: Target;
  readonly #open = new Set<TlsChannel>();
  readonly #idle: TlsChannel[] = [];
  readonly #timers = new Map<TlsChannel, NodeJS.Timeout>();
  readonly #waiting = new Set<Waiting>();
  readonly #sockets = new Set<TLSSocket>();
  #isCut = false;

  constructor(credentials: Credentials, target: Target) {
    this.#credentials = credentials;
    this.#target = target;
  }

  async take(): Promise<Channel> {
    if (this.#isCut) throw new PeerError('closed');
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      this.#settle(idle);
      // One that was sent to without having asked is not spoken to any more.
      if (idle.inbox.isEmpty && !idle.socket.destroyed) return idle;
      idle.cut();
    }
    if (this.#sockets.size < connectionsPerPeerMax) return this.#connect();
    if (this.#waiting.size >= channelsWaitingMax) throw new PeerError('busy');
    return new Promise((resolve, reject) => {
      const onLate = (): void => {
        this.#waiting.delete(waiting);
        reject(new PeerError('busy'));
      };
      const waiting = { resolve, reject, timer: setTimeout(onLate, channelMsMax) };
      this.#waiting.add(waiting);
    });
  }

  /** Who waited longest, and does so no more. */
  #first(): Waiting | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    this.#waiting.delete(first);
    clearTimeout(first.timer);
    return first;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
    for (let first = this.#first(); first !== undefined; first = this.#first())
      first.reject(new PeerError('closed'));
  }

  #connect(): Promise<TlsChannel> {
    const certified = this.#credentials.certified();
    if (certified === undefined) return Promise.reject(new PeerError('unreachable', 'no certificate yet'));
    return new Promise((resolve, reject) => {
      const { host, port, node, publicKey } = this.#target;
      const inbox = new Inbox(() => socket.resume());
      const onread = {
        buffer: Buffer.allocUnsafeSlow(readBytes),
        callback: (count: number, buffer: Uint8Array): boolean => {
          inbox.push(Buffer.from(buffer.buffer, buffer.byteOffset, count));
          return inbox.isHungry;
        },
      };
      const options = { ...contextOf(this.#credentials, certified), host, port, onread };
      const pinned = {
        rejectUnauthorized: true,
        checkServerIdentity: () => undefined,
        ALPNProtocols: [protocol],
      };
      const socket = connect({ ...options, ...pinned });
      this.#sockets.add(socket);
      const timer = setTimeout(() => socket.destroy(new Error('no handshake in time')), dialMsMax);
      socket.once('close', () => {
        clearTimeout(timer);
        this.#sockets.delete(socket);
        reject(new PeerError('unreachable'));
      });
      socket.once('error', (thrown) => {
        const error = errorOf(thrown);
        reject(error.code === 'refused' ? error : new PeerError('unreachable', thrown.message));
      });
      socket.once('secureConnect', () => {
        clearTimeout(timer);
        if (keyShown(socket)?.equals(publicKey) !== true || socket.alpnProtocol !== protocol) {
          socket.destroy();
          return reject(new PeerError('refused', 'another node answers there'));
        }
        resolve(this.#opened(new TlsChannel(socket, node, inbox)));
      });
    });
  }

  #opened(channel: TlsChannel): TlsChannel {
    this.#open.add(channel);
    channel.onFree = (free) => this.#free(free);
    channel.socket.once('close', () => this.#closed(channel));
    return channel;
  }

  #free(channel: TlsChannel): void {
    const next = this.#first();
    if (next !== undefined) {
      next.resolve(channel);
      return;
    }
    this.#idle.push(channel);
    // Read while it rests: an end is noticed, and so is what nobody asked for.
    channel.socket.resume();
    const onIdle = (): void => {
      if (this.#open.size > 1) channel.socket.end();
    };
    this.#timers.set(channel, setTimeout(onIdle, idleMsMax).unref());
  }

  #settle(channel: TlsChannel): void {
    clearTimeout(this.#timers.get(channel));
    this.#timers.delete(channel);
  }

  #closed(channel: TlsChannel): void {
    this.#open.delete(channel);
    this.#settle(channel);
    const at = this.#idle.indexOf(channel);
    if (at >= 0) this.#idle.splice(at, 1);
    const next = this.#isCut ? undefined : this.#first();
    if (next !== undefined) void this.#connect().then(next.resolve, next.reject);
  }
}

interface Accepted {
  readonly publicKey: Buffer;
  readonly node: NodeId;
}

const listen = async (credentials: Credentials, options: ListenOptions): Promise<Listener> => {
  const accepted = new Map<TLSSocket, Accepted>();
  const isAuthenticated = { requestCert: true, rejectUnauthorized: true, ALPNProtocols: [protocol] };
  const server = createServer({ ...isAuthenticated, handshakeTimeout: dialMsMax, noDelay: true });
  const renew = (): void => {
    for (const [socket, { publicKey }] of accepted)
      if (options.admit(publicKey) === undefined) socket.destroy();
    // Throws with one that cannot be used.
    const certified = credentials.certified();
    if (certified !== undefined) server.setSecureContext(contextOf(credentials, certified));
  };
  renew();
  server.maxConnections = acceptedMax;
  server.on('tlsClientError', (thrown, socket) => {
    // A certificate that was not taken says so on the socket alone.
    const why = socket.authorizationError as Error | string | null | undefined;
    if (why) options.onRefused('refused', String(why));
    else options.onRefused(errorOf(thrown).code, thrown.message);
    socket.destroy();
  });
  server.on('secureConnection', (socket) => {
    const publicKey = keyShown(socket);
    const node = publicKey && options.admit(publicKey);
    const isOurs = socket.alpnProtocol === protocol && socket.authorized && !socket.isSessionReused();
    if (publicKey === undefined || node === undefined || !isOurs) {
      socket.on('error', () => {}).destroy();
      return options.onRefused('refused', 'not in the roster');
    }
    const ofNode = [...accepted.values()].filter((one) => one.node === node).length;
    if (ofNode >= acceptedPerPeerMax) {
      socket.on('error', () => {}).destroy();
      return options.onRefused('excess', `more than ${acceptedPerPeerMax} connections of ${node}`);
    }
    accepted.set(socket, { publicKey, node });
    socket.once('close', () => accepted.delete(socket));
    const inbox = new Inbox(() => socket.resume());
    socket.on('data', (bytes: Buffer) => {
      inbox.push(bytes);
      if (!inbox.isHungry) socket.pause();
    });
    options.onChannel(new TlsChannel(socket, node, inbox));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of accepted.keys()) socket.destroy();
    });
  return { port, renew, close };
};
