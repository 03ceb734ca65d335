/**
 * Channels over QUIC: a stream for each exchange on one connection, so that a lost packet holds up one value only. Both
 * ends prove an Ed25519 key in the handshake (libp2p's TLS); who has which is checked here, before anything is read.
 * By the native part of libp2p's transport, without libp2p; where it does not load, there is no QUIC.
 *
 * Traps of that part, seen: a stream that is not read to its end keeps its place until it is collected; `stopRead`
 * waits for a pending `read`, and `resetWrite` leaves a pending `write` alone; dialling nobody takes 10 s.
 */
import { lookup } from 'node:dns/promises';
import { createRequire } from 'node:module';
import type { NodeId } from '@cognitora/protocol/ids';
import { PeerError, peerErrorOf } from './codes.ts';
import { libp2pPrivateKeyOf, publicKeyIn } from './identity.ts';
import { Inbox } from './inbox.ts';
import {
  acceptedMax,
  acceptedPerPeerMax,
  dialMsMax,
  restMsMax,
  stallMsMax,
  streamsPerConnectionMax,
} from './limits.ts';
import type { Channel, Credentials, Listener, ListenOptions, Target, Transport, Trunk } from './transport.ts';
import { within } from './within.ts';

const packageName = '@chainsafe/libp2p-quic-linux-x64-gnu';
/** What is read of a stream at once. */
const readBytes = 256 * 1024;
/** Handshakes that are awaited at once: as many may be slow, 3 s each, and hold up nobody. Costs a promise each. */
const acceptorsMax = 256;
/** After one that failed. An endpoint that failed for good says so at once, again and again, to each who awaits. */
const failedRestMs = 100;

interface NativeStream {
  /** Null at the end. */
  read(bytesMax: number): Promise<Uint8Array | null>;
  write(bytes: Uint8Array): Promise<void>;
  finishWrite(): Promise<void>;
  resetWrite(): Promise<void>;
  stopRead(): Promise<void>;
}

interface NativeConnection {
  abort(): void;
  closed(): Promise<void>;
  inboundStream(): Promise<NativeStream>;
  outboundStream(): Promise<NativeStream>;
  remoteMultiaddr(): string;
}

interface NativeClient {
  abort(): void;
  outboundConnection(ip: string, port: number): Promise<NativeConnection>;
}

interface NativeServer {
  abort(): Promise<void>;
  inboundConnection(): Promise<NativeConnection>;
  port(): number;
}

interface Native {
  readonly QuinnConfig: new (options: Readonly<Record<string, number | Buffer>>) => object;
  readonly Client: new (config: object, family: 0 | 1) => NativeClient;
  readonly Server: new (config: object, ip: string, port: number) => NativeServer;
}

const load = (): Native | undefined => {
  try {
    return createRequire(import.meta.url)(packageName) as Native;
  } catch {
    // Another system or C library.
    return undefined;
  }
};

const nothing = (): void => {};

class QuicChannel implements Channel {
  readonly node: NodeId;
  readonly #stream: NativeStream;
  readonly #connection: NativeConnection;
  readonly #onDone: () => void;
  readonly #inbox = new Inbox(() => void this.#pump());
  #isPumping = false;
  #isDone = false;
  #written: Promise<void> = Promise.resolve();
  #writing = 0;

  constructor(node: NodeId, stream: NativeStream, connection: NativeConnection, onDone: () => void) {
    this.node = node;
    this.#stream = stream;
    this.#connection = connection;
    this.#onDone = onDone;
  }

  get came(): number {
    return this.#inbox.came;
  }

  fill(target: Buffer, msMax: number): Promise<boolean> {
    return this.#inbox.fill(target, msMax);
  }

  async write(...parts: readonly Buffer[]): Promise<void> {
    const before = this.#written;
    const now = (async () => {
      await before;
      for (const part of parts) await this.#stream.write(part);
    })();
    this.#written = now;
    this.#writing += 1;
    try {
      await now;
    } catch (thrown) {
      throw peerErrorOf(thrown);
    } finally {
      this.#writing -= 1;
    }
  }

  giveBack(): void {
    if (!this.#inbox.isEmpty) {
      this.cut();
      return;
    }
    const drained = async (): Promise<void> => {
      await this.#written;
      await this.#stream.finishWrite();
      if ((await this.#stream.read(1)) !== null) throw new PeerError('excess');
      this.#done();
    };
    within(drained(), stallMsMax, 'stalled').catch(() => this.cut());
  }

  end(): void {
    const ended = async (): Promise<void> => {
      await this.#written;
      await this.#stream.finishWrite();
      this.#done();
    };
    within(ended(), stallMsMax, 'stalled').catch(() => this.cut());
  }

  /** With the whole connection where the stream cannot be ended alone. */
  cut(): void {
    if (this.#isDone) return;
    this.#inbox.end(new PeerError('cut'));
    if (this.#writing > 0) {
      this.#cutConnection();
      return;
    }
    const stopped = Promise.all([this.#stream.resetWrite(), this.#stream.stopRead()]);
    within(stopped, stallMsMax, 'stalled').then(
      () => this.#done(),
      () => this.#cutConnection(),
    );
  }

  #cutConnection(): void {
    this.#connection.abort();
    this.#done();
  }

  #done(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#onDone();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#inbox.isHungry) {
        const bytes = await this.#stream.read(readBytes);
        if (bytes === null) return this.#inbox.end();
        this.#inbox.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      }
    } catch (thrown) {
      this.#inbox.end(peerErrorOf(thrown));
    } finally {
      this.#isPumping = false;
    }
  }
}

class QuicTrunk implements Trunk {
  readonly #clientFor: (family: number) => NativeClient;
  readonly #target: Target;
  #connection: Promise<NativeConnection> | undefined;
  #streams = 0;
  #isCut = false;

  constructor(clientFor: (family: number) => NativeClient, target: Target) {
    this.#clientFor = clientFor;
    this.#target = target;
  }

  async take(): Promise<Channel> {
    if (this.#isCut) throw new PeerError('closed');
    if (this.#streams >= streamsPerConnectionMax) throw new PeerError('busy');
    this.#streams += 1;
    try {
      const connection = await (this.#connection ?? this.#connect());
      const stream = await this.#streamOf(connection);
      return new QuicChannel(this.#target.node, stream, connection, () => {
        this.#streams -= 1;
      });
    } catch (thrown) {
      this.#streams -= 1;
      throw thrown instanceof PeerError ? thrown : new PeerError('unreachable', peerErrorOf(thrown).message);
    }
  }

  cut(): void {
    this.#isCut = true;
    this.#connection?.then((connection) => connection.abort(), nothing);
    this.#connection = undefined;
  }

  #connect(): Promise<NativeConnection> {
    const connecting = this.#dial();
    const forget = (): void => {
      if (this.#connection === connecting) this.#connection = undefined;
    };
    connecting.then((connection) => connection.closed().then(forget, forget), forget);
    this.#connection = connecting;
    return connecting;
  }

  async #streamOf(connection: NativeConnection): Promise<NativeStream> {
    try {
      return await within(connection.outboundStream(), dialMsMax, 'unreachable');
    } catch (thrown) {
      // Over, or it gives no streams: the next exchange dials anew.
      connection.abort();
      this.#connection = undefined;
      throw thrown;
    }
  }

  async #dial(): Promise<NativeConnection> {
    const { host, port, publicKey } = this.#target;
    const { address, family } = await within(lookup(host), dialMsMax, 'unreachable');
    const dialled = this.#clientFor(family).outboundConnection(address, port);
    const connection = await within(dialled, dialMsMax, 'unreachable', (late) => late.abort());
    if (publicKeyIn(connection.remoteMultiaddr())?.equals(publicKey) === true && !this.#isCut)
      return connection;
    connection.abort();
    throw new PeerError('refused', 'another node answers there');
  }
}

interface Accepted {
  readonly publicKey: Buffer;
  readonly node: NodeId;
}

class QuicListener implements Listener {
  readonly port: number;
  readonly #server: NativeServer;
  readonly #options: ListenOptions;
  readonly #accepted = new Map<NativeConnection, Accepted>();
  #isClosed = false;

  constructor(server: NativeServer, options: ListenOptions) {
    this.#server = server;
    this.#options = options;
    this.port = server.port();
    for (let index = 0; index < acceptorsMax; index += 1) void this.#acceptAll();
  }

  renew(): void {
    for (const [connection, { publicKey }] of this.#accepted) {
      if (this.#options.admit(publicKey) === undefined) connection.abort();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const connection of this.#accepted.keys()) connection.abort();
    await this.#server.abort();
  }

  async #acceptAll(): Promise<void> {
    while (!this.#isClosed) {
      try {
        this.#accept(await this.#server.inboundConnection());
      } catch (thrown) {
        if (this.#isClosed) return;
        this.#options.onRefused('refused', peerErrorOf(thrown).message);
        await new Promise((resolve) => setTimeout(resolve, failedRestMs));
      }
    }
  }

  #accept(connection: NativeConnection): void {
    const publicKey = publicKeyIn(connection.remoteMultiaddr());
    const node = publicKey && this.#options.admit(publicKey);
    if (publicKey === undefined || node === undefined) {
      connection.abort();
      this.#options.onRefused('refused', 'not in the roster');
      return;
    }
    const ofNode = [...this.#accepted.values()].filter((one) => one.node === node).length;
    if (ofNode >= acceptedPerPeerMax || this.#accepted.size >= acceptedMax || this.#isClosed) {
      connection.abort();
      this.#options.onRefused('excess', `more connections of ${node} than there may be`);
      return;
    }
    this.#accepted.set(connection, { publicKey, node });
    const forget = (): void => void this.#accepted.delete(connection);
    connection.closed().then(forget, forget);
    void this.#streamsOf(connection, node);
  }

  async #streamsOf(connection: NativeConnection, node: NodeId): Promise<void> {
    try {
      for (;;) {
        const stream = await connection.inboundStream();
        this.#options.onChannel(new QuicChannel(node, stream, connection, nothing));
      }
    } catch {
      // The connection is over.
    }
  }
}

export const openQuic = ({ key }: Credentials): Transport | undefined => {
  const native = load();
  if (native === undefined) return undefined;
  const config = new native.QuinnConfig({
    privateKeyProto: libp2pPrivateKeyOf(key),
    handshakeTimeout: dialMsMax,
    // A peer that vanished is noticed by what stalls, not by this; it must outlive lost keep-alives only.
    maxIdleTimeout: Math.min(restMsMax, 15_000),
    keepAliveInterval: 5_000,
    maxConcurrentStreamLimit: streamsPerConnectionMax,
    maxStreamData: 4 * 2 ** 20,
    maxConnectionData: 32 * 2 ** 20,
    receiveBufferSize: 4 * 2 ** 20,
    sendBufferSize: 4 * 2 ** 20,
  });
  const clients = new Map<number, NativeClient>();
  const clientFor = (family: number): NativeClient => {
    const client = clients.get(family) ?? new native.Client(config, family === 6 ? 1 : 0);
    clients.set(family, client);
    return client;
  };
  return {
    name: 'quic',
    listen: async (options) => {
      const { address } = await lookup(options.host);
      return new QuicListener(new native.Server(config, address, options.port), options);
    },
    trunk: (target) => new QuicTrunk(clientFor, target),
    close: () => {
      for (const client of clients.values()) client.abort();
      clients.clear();
    },
  };
};
