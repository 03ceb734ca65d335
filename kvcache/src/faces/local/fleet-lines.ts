/**
 * The agent's connection: lines of JSON both ways, between the agent and the peers. One agent at a time, the newest;
 * one that reads too slowly, or sends what is no line, is cut, and dials again and is told all anew.
 */
import type { Duplex } from 'node:stream';
import { kvFleetUpgrade, kvLineBytesMax, parseToDaemon } from '@cognitora/protocol/kv-daemon';
import { TextLines } from '@cognitora/protocol/text-lines';
import type { PeerAccess } from '../../peer-access.ts';

/** Digests of a million keys, twice what is told at once of a full store. */
const unreadBytesMax = 32 * 2 ** 20;

export class FleetLines {
  readonly #peers: PeerAccess;
  readonly #onError: (thrown: unknown) => void;
  #current: Duplex | undefined;

  constructor(peers: PeerAccess, onError: (thrown: unknown) => void) {
    this.#peers = peers;
    this.#onError = onError;
  }

  /** Takes an upgraded connection over; `head` are bytes that came with the request. */
  accept(socket: Duplex, head: Uint8Array): void {
    this.#current?.destroy();
    this.#current = socket;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${kvFleetUpgrade}\r\n\r\n`,
    );
    const channel = this.#peers.attach((line) => {
      if (socket.destroyed) return false;
      socket.write(`${JSON.stringify(line)}\n`);
      if (socket.writableLength <= unreadBytesMax) return true;
      this.#onError(new Error('the agent reads too slowly; its connection is cut'));
      socket.destroy();
      return false;
    });
    const lines = new TextLines(kvLineBytesMax);
    const read = (bytes: Uint8Array): void => {
      try {
        for (const line of lines.push(bytes)) channel.receive(parseToDaemon(line));
      } catch (thrown) {
        this.#onError(thrown);
        socket.destroy();
      }
    };
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      if (this.#current === socket) this.#current = undefined;
      channel.closed();
    });
    socket.once('end', () => socket.destroy());
    if (head.length > 0) read(head);
    socket.on('data', read);
  }

  close(): void {
    this.#current?.destroy();
  }
}
