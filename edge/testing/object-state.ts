/**
 * What the platform gives an object that hosts links, as far as `LinkHost` uses it: sockets that write down what is
 * sent, and the platform's own answers to pings. Only tests import it.
 */
import { vi } from 'vitest';

/** The object's end of an accepted socket. */
export class ObjectSocket {
  readonly sent: Uint8Array[] = [];
  closed: string | undefined;
  /** When the platform last answered a ping on it. */
  pongedAt: Date | null = null;

  send(message: Uint8Array): void {
    this.sent.push(message);
  }

  close(code: number, reason: string): void {
    this.closed = `${code} ${reason}`;
  }
}

/** A Response that may be an upgrade's, which only the platform's can. */
class UpgradableResponse extends Response {
  constructor(body?: BodyInit | null, init?: ResponseInit) {
    super(body, init?.status === 101 ? {} : init);
  }
}

export class ObjectState {
  readonly accepted: ObjectSocket[] = [];

  constructor() {
    class Pair {
      readonly 0 = new ObjectSocket();
      readonly 1 = new ObjectSocket();
    }
    vi.stubGlobal('WebSocketPair', Pair);
    vi.stubGlobal('WebSocketRequestResponsePair', class {});
    vi.stubGlobal('Response', UpgradableResponse);
  }

  /** As the type that the platform's has. */
  get state(): DurableObjectState {
    return this as unknown as DurableObjectState;
  }

  setWebSocketAutoResponse(): void {}

  getWebSockets(): readonly ObjectSocket[] {
    return [];
  }

  acceptWebSocket(socket: ObjectSocket): void {
    this.accepted.push(socket);
  }

  getWebSocketAutoResponseTimestamp(socket: ObjectSocket): Date | null {
    return socket.pongedAt;
  }

  waitUntil(): void {}
}
