/**
 * The shell of one link: a WebSocket around an `AgentSession`. Sends what the session has once per event-loop tick,
 * beats the heart, notices silence. One socket, one life: whoever owns it dials again.
 */

import { type ErrorCode, isErrorCode, toCognitoraError } from '@cognitora/protocol/errors';
import type { StreamId } from '@cognitora/protocol/ids';
import type { KvWant } from '@cognitora/protocol/kv';
import type { KvFabric } from '@cognitora/protocol/kv-daemon';
import type { KvAsk, KvHeld, KvHolders, KvPeer } from '@cognitora/protocol/kv-fabric';
import { ackDelayMs, bodyMessageBytesMax, helloMsMax, messageBytesMax } from '@cognitora/protocol/limits';
import {
  type Goaway,
  type Hello,
  pingText,
  type ReplicaReport,
  type Welcome,
} from '@cognitora/protocol/link';
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { rttMsMax, type Telemetry } from '@cognitora/protocol/telemetry';
import WebSocket from 'ws';
import type { Clock } from '../clock.ts';
import { RoundTrip } from './round-trip.ts';
import { AgentSession, type KvFrame, type SessionEvents } from './session.ts';

export interface LinkSocketOptions {
  readonly url: string;
  readonly authorization: string;
  readonly hello: Hello;
  readonly clock: Clock;
  readonly serve: SessionEvents['serve'];
  readonly resume: SessionEvents['resume'];
  readonly onKvWanted: (want: KvWant) => void;
  readonly onKvFabric: (fabric: KvFabric) => void;
  readonly onKvHolders: (holders: KvHolders) => void;
  /** All that was ready has gone into the socket, and it holds little: a moment for what is large and not urgent. */
  readonly onIdle: () => void;
  readonly onWelcome: (welcome: Welcome) => void;
  readonly onGoaway: (goaway: Goaway) => void;
  /** Called once; `refusal` is the edge's code when it refused the dial. */
  readonly onClose: (why: string, refusal?: ErrorCode) => void;
}

/** Unsent bytes of the socket above which the session is not asked for more: an ACK waits behind no more than these. */
const socketBufferedBytesMax = 4 * bodyMessageBytesMax;
/** A refusal's body is read no further than this. */
const refusalBytesMax = 4096;

export class LinkSocket {
  readonly #options: LinkSocketOptions;
  readonly #socket: WebSocket;
  readonly #session: AgentSession;
  readonly #roundTrip = new RoundTrip();
  #rttMs: number | undefined;
  readonly #acks: { readonly stream: StreamId; readonly dueMs: number }[] = [];
  #ackTimer: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #greeting: NodeJS.Timeout;
  #flushQueued = false;
  #heardAtMs: number;
  #closed = false;

  constructor(options: LinkSocketOptions) {
    this.#options = options;
    this.#heardAtMs = options.clock.monotonicMs();
    this.#session = new AgentSession(options.hello, {
      welcome: (welcome) => this.#welcomed(welcome),
      goaway: (goaway) => options.onGoaway(goaway),
      ready: () => this.#flushSoon(),
      ackDue: (stream) => this.#ackLater(stream),
      serve: options.serve,
      resume: options.resume,
      kvWanted: (want) => options.onKvWanted(want),
      kvFabric: (fabric) => options.onKvFabric(fabric),
      kvHolders: (holders) => options.onKvHolders(holders),
    });
    this.#socket = new WebSocket(options.url, {
      headers: { authorization: options.authorization },
      perMessageDeflate: false,
      handshakeTimeout: helloMsMax,
      maxPayload: 32 * messageBytesMax,
    });
    this.#socket.binaryType = 'nodebuffer';
    this.#greeting = setTimeout(() => this.#end('the edge sent no WELCOME'), helloMsMax);
    this.#listen();
  }

  get streams(): number {
    return this.#session.streams;
  }

  replicas(replicas: readonly ReplicaReport[]): void {
    this.#session.replicas(replicas);
  }

  /** What was measured. False: not yet, since the way to the edge is not measured, and no message goes without it. */
  measured(figures: Omit<Telemetry, 'rttMs'>): boolean {
    if (this.#rttMs === undefined || this.#closed) return false;
    this.#session.telemetry({ rttMs: this.#rttMs, ...figures });
    return true;
  }

  kv(frame: KvFrame, payload: Uint8Array): void {
    this.#session.kv(frame, payload);
  }

  kvPeer(peer: KvPeer): void {
    this.#session.kvPeer(peer);
  }

  kvHeld(held: KvHeld): void {
    this.#session.kvHeld(held);
  }

  kvAsk(ask: KvAsk): void {
    this.#session.kvAsk(ask);
  }

  /** Tells the edge that no more work should come; live streams go on. */
  leave(): void {
    this.#session.goaway({ code: 'leaving', message: 'The agent is stopping.' });
  }

  close(why: string): void {
    this.#end(why);
  }

  #listen(): void {
    this.#socket.on('open', () => this.#flush());
    this.#socket.on('message', (message: Buffer, isBinary: boolean) => {
      // A socket that closes still says what was under way.
      if (this.#closed) return;
      this.#heardAtMs = this.#options.clock.monotonicMs();
      if (!isBinary) {
        this.#ponged();
        return;
      }
      try {
        this.#session.receive(message);
      } catch (thrown) {
        const error = toCognitoraError(thrown);
        this.#session.goaway({ code: error.code, message: error.message });
        this.#flush();
        this.#end(`${error.code}: ${error.message}`);
      }
    });
    this.#socket.on('unexpected-response', (request, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        if (text.length < refusalBytesMax) text += part;
      });
      response.on('error', () => {});
      response.on('close', () => {
        request.destroy();
        const { why, code } = refusalOf(response.statusCode ?? 0, text);
        this.#end(why, code);
      });
    });
    this.#socket.on('error', (error) => this.#end(error.message));
    this.#socket.on('close', (code, reason) => this.#end(`closed: ${code} ${reason.toString()}`.trim()));
  }

  #welcomed(welcome: Welcome): void {
    clearTimeout(this.#greeting);
    this.#heartbeat = setInterval(() => this.#ping(), welcome.heartbeatMs);
    this.#awaitSilence(welcome.leaseMs);
    this.#options.onWelcome(welcome);
    this.#ping();
  }

  /** Ends the link once the edge has said nothing for a lease. */
  #awaitSilence(leaseMs: number): void {
    const silentMs = this.#options.clock.monotonicMs() - this.#heardAtMs;
    if (silentMs >= leaseMs) this.#end('the edge fell silent');
    else this.#silence = setTimeout(() => this.#awaitSilence(leaseMs), leaseMs - silentMs);
  }

  #ping(): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#roundTrip.pinged(this.#options.clock.monotonicMs());
    this.#socket.send(pingText);
  }

  #ponged(): void {
    const rttMs = this.#roundTrip.ponged(this.#options.clock.monotonicMs());
    if (rttMs !== undefined) {
      this.#rttMs = Math.min(rttMs, rttMsMax);
      this.measured({});
    }
    if (this.#roundTrip.wantsMore) this.#ping();
  }

  /** One timer for all delayed acknowledgements: they fall due in the order they came. */
  #ackLater(stream: StreamId): void {
    this.#acks.push({ stream, dueMs: this.#options.clock.monotonicMs() + ackDelayMs });
    this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ackDelayMs);
  }

  #acknowledge(): void {
    const now = this.#options.clock.monotonicMs();
    let next = this.#acks[0];
    while (next !== undefined && next.dueMs <= now + 1) {
      this.#session.acknowledge(next.stream);
      this.#acks.shift();
      next = this.#acks[0];
    }
    this.#ackTimer =
      next === undefined ? undefined : setTimeout(() => this.#acknowledge(), Math.max(1, next.dueMs - now));
  }

  #flushSoon(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushQueued = false;
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    while (this.#socket.bufferedAmount < socketBufferedBytesMax) {
      const message = this.#session.take();
      if (message === undefined) return;
      this.#socket.send(message, { binary: true }, () => {
        if (this.#socket.bufferedAmount < socketBufferedBytesMax / 2) this.#resume();
        if (this.#socket.bufferedAmount === 0) this.#options.onIdle();
      });
    }
    this.#blocked = true;
  }

  #blocked = false;

  #resume(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#flushSoon();
  }

  #end(why: string, refusal?: ErrorCode): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#greeting);
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#silence);
    clearInterval(this.#heartbeat);
    this.#session.close();
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.close(1000);
      setTimeout(() => this.#socket.terminate(), 1000).unref();
    } else this.#socket.terminate();
    this.#options.onClose(why, refusal);
  }
}

/** The edge's own words and code out of an OpenAI-shaped error, else the status. */
const refusalOf = (status: number, text: string): { readonly why: string; readonly code: ErrorCode } => {
  const error = jsonRecordIn(text)?.error;
  const fields = isRecord(error) ? error : {};
  const code = String(fields.code);
  return {
    why: `${status} ${String(fields.message ?? '')}`.trim(),
    code: isErrorCode(code) ? code : 'internal',
  };
};
