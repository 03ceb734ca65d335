/** A TLS proxy as people put one in front of the edge: it ends TLS and passes the bytes on as they are. */
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer } from 'node:tls';
import { type SelfSigned, selfSigned } from './certificate.ts';

export class TlsProxy {
  readonly identity: SelfSigned = selfSigned();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer(
    { key: this.identity.privateKey, cert: this.identity.certificate },
    (client) => this.#forward(client),
  );
  #target = 0;
  #port = 0;

  async start(): Promise<this> {
    await new Promise<void>((accept) => this.#server.listen(0, '127.0.0.1', accept));
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  get url(): string {
    return `https://localhost:${this.#port}`;
  }

  /** Where connections go from now on: a port of this machine. */
  forwardTo(port: number): void {
    this.#target = port;
  }

  /** Breaks every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((accept) => this.#server.close(() => accept()));
    this.cut();
    await closed;
  }

  #forward(client: Socket): void {
    const edge = connect(this.#target, '127.0.0.1');
    this.#sockets.add(client);
    client.once('close', () => {
      this.#sockets.delete(client);
      edge.destroy();
    });
    edge.once('close', () => client.destroy());
    client.on('error', () => {});
    edge.on('error', () => {});
    client.pipe(edge).pipe(client);
  }
}
