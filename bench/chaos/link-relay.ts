/**
 * A way from an agent to the edge that can be cut and can fall silent: TCP on loopback, bytes passed on as they are.
 * Silent, it loses nothing and tells nothing: neither end hears that the other one is gone until it speaks again, as
 * across a network that is down.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A socket of the file system knows no reset. */
const abort = (socket: Socket): void => {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
};

export class LinkRelay {
  /** Set once the edge listens. */
  edgePort = 0;
  readonly #sockets = new Set<Socket>();
  /** Ended while all was silent: their other ends hear of it later. */
  readonly #unheard = new Set<Socket>();
  readonly #server: Server = createServer((agent) => this.#accept(agent));
  #isSilent = false;

  /** At a path, for those who come from another network; else on loopback. */
  async listen(path?: string): Promise<this> {
    await new Promise<void>((resolve) => {
      if (path === undefined) this.#server.listen(0, '127.0.0.1', resolve);
      else this.#server.listen(path, resolve);
    });
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resets every connection. Returns how many ends that were. */
  cut(): number {
    const sockets = [...this.#sockets];
    for (const socket of sockets) abort(socket);
    return sockets.length;
  }

  silence(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  speak(): void {
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.resume();
    for (const socket of this.#unheard) abort(socket);
    this.#unheard.clear();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.speak();
    this.cut();
    await closed;
  }

  #accept(agent: Socket): void {
    const edge = connect({ host: '127.0.0.1', port: this.edgePort, noDelay: true });
    agent.setNoDelay(true);
    this.#pass(agent, edge);
    this.#pass(edge, agent);
  }

  /** What is not taken yet waits in the other socket: the credit of the link bounds it. */
  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (bytes) => to.write(bytes));
    from.on('error', () => from.destroy());
    from.once('close', () => {
      this.#sockets.delete(from);
      if (this.#isSilent) this.#unheard.add(to);
      else abort(to);
    });
    if (this.#isSilent) from.pause();
  }
}
