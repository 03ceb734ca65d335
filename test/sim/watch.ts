/**
 * What has to be true at every step, watched from outside: who is given work, how long an engine works for nobody, what
 * is held on the way. Reads what passes on the wire; never asks the programs what they think.
 */
import {
  decodeBody,
  decodeCredit,
  decodeOpenPayload,
  FrameDecoder,
  frameTypes,
} from '@cognitora/protocol/frame';
import {
  agentLinkWindowBytes,
  agentStreamWindowBytes,
  edgeLinkWindowBytes,
  edgeStreamWindowBytes,
  leaseMsMax,
  sweepMs,
} from '@cognitora/protocol/limits';
import {
  type Hello,
  parseHello,
  parseOpenRequest,
  parseReplicas,
  parseStreamFailure,
} from '@cognitora/protocol/link';
import { Allowance } from './allowance.ts';
import type { ConnectionTap, Side } from './connection.ts';
import type { Schedule, Trace } from './schedule.ts';

/** What the watch knows of a request. */
export interface WatchedRequest {
  readonly startedMs: number;
  readonly endedMs: number | undefined;
}

export interface WatchOptions {
  readonly schedule: Schedule;
  readonly violate: (what: string) => void;
  readonly trace: Trace;
  readonly request: (id: string) => WatchedRequest | undefined;
  /** When what a node's object heard then is known where it is decided. */
  readonly newsMs: (heardAtMs: number) => number;
  /** Whether the edge's clock has not jumped of late. */
  readonly isClockSound: () => boolean;
}

const typeNames = new Map<number, string>(Object.entries(frameTypes).map(([name, type]) => [type, name]));

const manyTypes: ReadonlySet<number> = new Set([
  ...[frameTypes.data, frameTypes.credit, frameTypes.telemetry, frameTypes.kvmark],
]);

/** One node, as the edge could know it. */
class WatchedNode {
  readonly name: string;
  cordonedAtMs: number | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** One link: what its two ends said to each other. */
class WatchedLink implements ConnectionTap {
  readonly #watch: Watch;
  readonly #node: WatchedNode;
  readonly #toAgent = new FrameDecoder();
  readonly #toEdge = new FrameDecoder();
  /** When the edge last heard of it. */
  #heardAtMs: number;
  /** Since when it is not ready, by replica. */
  readonly #unreadyAtMs = new Map<string, number>();
  #leavingAtMs: number | undefined;
  /** Of each stream: bytes that came. */
  readonly #offsets = new Map<number, number>();
  readonly #ofAgent = new Allowance(edgeStreamWindowBytes, edgeLinkWindowBytes);
  readonly #ofEdge = new Allowance(agentStreamWindowBytes, agentLinkWindowBytes);

  constructor(watch: Watch, node: WatchedNode) {
    this.#watch = watch;
    this.#node = node;
    this.#heardAtMs = watch.options.schedule.nowMs;
  }

  sent(from: Side, data: string | Uint8Array): void {
    if (from === 'agent' || typeof data === 'string') return;
    this.#toAgent.push(data.slice(), ({ type, stream, payload }) => {
      this.#note(`edge to ${this.#node.name}`, type, stream, payload);
      if (type === frameTypes.open) this.#opened(payload);
      if (type === frameTypes.credit) this.#ofAgent.granted(stream, decodeCredit(payload));
      if (type === frameTypes.body) this.#spent(this.#ofEdge, stream, decodeBody(payload).bytes);
    });
  }

  arrived(to: Side, data: string | Uint8Array): void {
    if (to === 'agent') return;
    const { nowMs } = this.#watch.options.schedule;
    this.#heardAtMs = nowMs;
    if (typeof data === 'string') return;
    this.#toEdge.push(data.slice(), ({ type, stream, payload }) => {
      this.#note(this.#node.name, type, stream, payload);
      if (type === frameTypes.hello) this.#reported(parseHello(payload).replicas, nowMs);
      if (type === frameTypes.replicas) this.#reported(parseReplicas(payload), nowMs);
      if (type === frameTypes.goaway) this.#leavingAtMs ??= nowMs;
      if (type === frameTypes.data) this.#data(stream, payload);
      if (type === frameTypes.credit) this.#ofEdge.granted(stream, decodeCredit(payload));
      if (type === frameTypes.fail) this.#failed(stream, payload);
    });
  }

  #note(from: string, type: number, stream: number, payload: Uint8Array): void {
    const says = (): string => `${from} says ${typeNames.get(type)} ${stream} +${payload.length}`;
    const { trace } = this.#watch.options;
    if (manyTypes.has(type)) trace.detail('link', says);
    else trace.note('link', says());
  }

  #reported(replicas: Hello['replicas'], nowMs: number): void {
    for (const { name, state } of replicas) {
      if (state === 'ready') this.#unreadyAtMs.delete(name);
      else if (!this.#unreadyAtMs.has(name)) this.#unreadyAtMs.set(name, nowMs);
    }
  }

  #failed(stream: number, payload: Uint8Array): void {
    const { code } = parseStreamFailure(payload);
    this.#watch.options.trace.note('link', `${this.#node.name} fails ${stream} by ${code}`);
  }

  #data(stream: number, payload: Uint8Array): void {
    const { offset, bytes } = decodeBody(payload);
    const due = this.#offsets.get(stream);
    if (due !== undefined && due !== offset) {
      this.#watch.options.violate(`${this.#node.name}: bytes of ${offset} where ${due} was due`);
    }
    this.#offsets.set(stream, offset + bytes.length);
    this.#spent(this.#ofAgent, stream, bytes);
  }

  /** Between two ends lies no more than the receiver granted. */
  #spent(allowance: Allowance, stream: number, { length }: Uint8Array): void {
    const from = allowance === this.#ofEdge ? `edge to ${this.#node.name}` : this.#node.name;
    const beyond = allowance.spent(stream, length);
    if (beyond > 0) this.#watch.options.violate(`${from}: ${beyond} bytes beyond the credit of ${stream}`);
  }

  #opened(payload: Uint8Array): void {
    const { meta } = decodeOpenPayload(payload);
    const { requestId, replica } = parseOpenRequest(meta);
    const { schedule, request, isClockSound, newsMs, trace } = this.#watch.options;
    const { nowMs } = schedule;
    trace.note('link', `${this.#node.name}/${replica} is given ${requestId}`);
    const startedMs = request(requestId)?.startedMs ?? nowMs;
    const tell = (why: string): void =>
      this.#watch.options.violate(`${requestId} was given to ${this.#node.name}/${replica}, ${why}`);
    if (isClockSound() && nowMs - this.#heardAtMs > leaseMsMax + 2 * sweepMs) {
      tell(`which was not heard for ${Math.round(nowMs - this.#heardAtMs)} ms`);
    }
    const { cordonedAtMs } = this.#node;
    if (cordonedAtMs !== undefined && startedMs > cordonedAtMs) tell('which was cordoned before');
    const isTold = (atMs: number | undefined): boolean => atMs !== undefined && startedMs > newsMs(atMs);
    if (isTold(this.#unreadyAtMs.get(replica))) tell('which was not ready');
    if (isTold(this.#leavingAtMs)) tell('which leaves');
  }
}

export class Watch {
  readonly options: WatchOptions;
  readonly #nodes = new Map<string, WatchedNode>();

  constructor(options: WatchOptions) {
    this.options = options;
  }

  #node(name: string): WatchedNode {
    let node = this.#nodes.get(name);
    if (node === undefined) {
      node = new WatchedNode(name);
      this.#nodes.set(name, node);
    }
    return node;
  }

  /** A tap for one connection of that node. */
  link(name: string): ConnectionTap {
    return new WatchedLink(this, this.#node(name));
  }

  /** The edge confirmed it. */
  cordoned(name: string): void {
    this.#node(name).cordonedAtMs = this.options.schedule.nowMs;
  }

  uncordoned(name: string): void {
    this.#node(name).cordonedAtMs = undefined;
  }
}
