/**
 * The shell around the links of one object: WebSockets in, `EdgeLink`s and `CarriedResponse`s around them, one timer.
 * Used by both layouts; what it learns about nodes goes through `LinkReports`, which is a method call or an RPC.
 * Never decides where a request goes.
 */
import { CognitoraError, toCognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, Region, ReplicaName, StreamId } from '@cognitora/protocol/ids';
import type { KvWant } from '@cognitora/protocol/kv';
import { LateSweeps } from '@cognitora/protocol/late-sweeps';
import {
  ackMsMax,
  bodyPartBytes,
  clientStallMsMax,
  crowdedStallMsMax,
  edgeLinkWindowBytes,
  edgeStreamWindowBytes,
  frameBodyBytesMax,
  heartbeatMs,
  helloMsMax,
  leaseMsMax,
  linksPerObjectMax,
  sweepMs,
  unaskedFramesPerSecond,
} from '@cognitora/protocol/limits';
import {
  type Hello,
  type OpenRequest,
  type PrefixTerms,
  pingText,
  pongText,
  type ReplicaReport,
  versionMax,
  versionMin,
} from '@cognitora/protocol/link';
import type { Telemetry } from '@cognitora/protocol/telemetry';
import type { Clock } from '../clock.ts';
import type { ReceiptNote } from '../directory/receipts.ts';
import { nodeHeader, routeHeader, withPlace } from '../error-response.ts';
import { type CarriedEnd, CarriedResponse } from './carried-response.ts';
import type { ResumeCarry } from './carry-request.ts';
import { watchClient } from './client-watch.ts';
import { EdgeLink, type KvToAgent, type LinkEvents } from './edge-link.ts';
import { KvIntake, type KvMessage, newFrameBucket } from './kv-intake.ts';
import type { TokenBucket } from './token-bucket.ts';

/** What the directory needs to hear about the nodes whose links live here. */
export interface LinkReports {
  joined(node: NodeId, epoch: Epoch, hello: Hello, region: Region): void;
  reported(node: NodeId, epoch: Epoch, replicas: readonly ReplicaReport[]): void;
  left(node: NodeId, epoch: Epoch): void;
  /** The agent says something of a replica's cache, or of its host's KV daemon. */
  kv(node: NodeId, epoch: Epoch, message: KvMessage): void;
  measured(node: NodeId, epoch: Epoch, telemetry: Telemetry): void;
}

interface Hosted {
  readonly socket: WebSocket;
  readonly link: EdgeLink;
  readonly node: NodeId;
  readonly epoch: Epoch;
  acceptedAtMs: number;
  heardAtMs: number;
  /** When frames last came: the platform answers pings without us. */
  saidAtMs: number;
  /** The agent said that it goes. */
  isLeaving: boolean;
  readonly carried: Map<StreamId, CarriedResponse>;
  /** Of the replicas that have a time of their own: how long an ACK may take. */
  ackMs: ReadonlyMap<ReplicaName, number>;
}

/** What carrying has in common, of a request that begins and of one that goes on. */
interface CarryCommon {
  readonly node: NodeId;
  readonly epoch: Epoch;
  /** Whose signal is the client's, and of one that begins the body too. */
  readonly request: Request;
  readonly region: Region;
  /** The client's address, where somebody can tell that it hung up. */
  readonly client: string | undefined;
  /** What the client is told of the decision. */
  readonly receipt: ReceiptNote;
  /** The first byte of the engine's answer came, of one that is streamed and no error. */
  readonly onFirstByte: () => void;
  /** Called once, when the agent's part is over, or never began. */
  readonly onOver: (end: CarriedEnd) => void;
}

export interface CarryOptions extends CarryCommon {
  readonly open: OpenRequest;
}

export interface ResumeOptions extends CarryCommon {
  readonly resume: ResumeCarry;
}

/** What carrying needs to know of a request, of one that begins and of one that goes on. */
type Asked = Pick<OpenRequest, 'requestId' | 'replica' | 'stream' | 'remainingMs'>;

/** How a stream is begun on a link, once there is somebody to hear of it. */
type Begin = (link: EdgeLink, handler: CarriedResponse) => StreamId;

export class LinkHost {
  readonly #state: DurableObjectState;
  readonly #clock: Clock;
  readonly #reports: LinkReports;
  readonly #prefix: PrefixTerms;
  readonly #bySocket = new Map<WebSocket, Hosted>();
  readonly #byNode = new Map<NodeId, Hosted>();
  /** Who waits for a node's next link: streams of its last one, so at most `streamsPerLinkMax` for each. */
  readonly #waiting = new Map<NodeId, Set<() => void>>();
  /** What each node may say unasked, of the nodes that dialled last. */
  readonly #frames = new Map<NodeId, TokenBucket>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #lateSweeps: LateSweeps | undefined;

  constructor(state: DurableObjectState, clock: Clock, prefix: PrefixTerms, reports: LinkReports) {
    this.#state = state;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#reports = reports;
    state.setWebSocketAutoResponse(new WebSocketRequestResponsePair(pingText, pongText));
    // Sockets that outlived this object's memory carry streams nobody knows: their agents dial again.
    for (const socket of state.getWebSockets()) socket.close(1012, 'the edge restarted');
  }

  get links(): number {
    return this.#bySocket.size;
  }

  get streams(): number {
    let streams = 0;
    for (const { link } of this.#bySocket.values()) streams += link.streams;
    return streams;
  }

  /** Accepts a dial that was checked; the newest epoch of a node replaces its older link. */
  accept(region: Region, node: NodeId, epoch: Epoch): Response {
    if (this.#bySocket.size >= linksPerObjectMax) {
      throw new CognitoraError('no_capacity', 'This object carries as many links as it may.', {
        retryAfterSeconds: 5,
      });
    }
    const frames = this.#framesOf(node);
    if (frames.level < 0) {
      throw new CognitoraError('flooded', 'This node said more than an edge listens to, a moment ago.', {
        retryAfterSeconds: Math.ceil(-frames.level / unaskedFramesPerSecond),
      });
    }
    const { 0: client, 1: socket } = new WebSocketPair();
    this.#state.acceptWebSocket(socket);
    const now = this.#clock();
    const events: LinkEvents = {
      bytes: (message) => sendQuietly(socket, message),
      hello: (hello) => this.#hello(hosted, hello, region),
      replicas: (replicas) => {
        hosted.ackMs = ackMsOf(replicas);
        this.#reports.reported(node, epoch, replicas);
      },
      kv: (message) => this.#reports.kv(node, epoch, message),
      telemetry: (telemetry) => this.#reports.measured(node, epoch, telemetry),
      goaway: () => {
        hosted.isLeaving = true;
        this.#reports.left(node, epoch);
      },
    };
    const link = new EdgeLink(events, new KvIntake(this.#clock, frames));
    const hosted: Hosted = {
      socket,
      link,
      node,
      epoch,
      acceptedAtMs: now,
      heardAtMs: now,
      saidAtMs: now,
      isLeaving: false,
      carried: new Map(),
      ackMs: new Map(),
    };
    this.#bySocket.set(socket, hosted);
    if (this.#timer === undefined) this.#lateSweeps = new LateSweeps(sweepMs, now);
    this.#timer ??= setInterval(() => this.#sweep(), sweepMs);
    return new Response(null, { status: 101, webSocket: client });
  }

  message(socket: WebSocket, message: string | ArrayBuffer): void {
    const hosted = this.#bySocket.get(socket);
    if (hosted === undefined) {
      closeQuietly(socket, 1012, 'the edge restarted');
      return;
    }
    hosted.heardAtMs = this.#clock();
    if (typeof message === 'string') return;
    hosted.saidAtMs = hosted.heardAtMs;
    try {
      hosted.link.receive(new Uint8Array(message));
    } catch (thrown) {
      const error = toCognitoraError(thrown);
      hosted.link.goaway({ code: error.code, message: error.message });
      this.#drop(hosted, error.code === 'flooded' ? 1008 : 1002, error.code);
    }
  }

  /** The socket closed or failed. */
  gone(socket: WebSocket): void {
    const hosted = this.#bySocket.get(socket);
    if (hosted !== undefined) this.#drop(hosted, 1000, 'closed');
  }

  /** Whether the node may receive work: its link is open and was heard within the lease. */
  isLeased(node: NodeId): boolean {
    const hosted = this.#byNode.get(node);
    return hosted !== undefined && this.#clock() - this.#heardAtMs(hosted) < leaseMsMax;
  }

  /** Carries one request over a node's link. Throws `link_lost` when the link of that epoch is not here. */
  carry(options: CarryOptions): Promise<Response> {
    return this.#attempted(options, (hosted) => this.#carry(hosted, options));
  }

  /** Goes on with a stream of an older link of the node over this one. Throws as `carry` does. */
  resume(options: ResumeOptions): Promise<Response> {
    const { token, offset } = options.resume;
    return this.#attempted(options, (hosted) => {
      const begin: Begin = (link, handler) => link.resume({ token, offset }, handler);
      return this.#answer(hosted, options, options.resume, begin).answer;
    });
  }

  /** The epoch of the node's link, as soon as it has one; undefined: it has none within that time. */
  async linked(node: NodeId, waitMs: number, signal: AbortSignal): Promise<Epoch | undefined> {
    const epochOf = (): Epoch | undefined => this.#byNode.get(node)?.epoch;
    if (epochOf() !== undefined || signal.aborted) return epochOf();
    const waiting = this.#waiting.get(node) ?? new Set();
    this.#waiting.set(node, waiting);
    await new Promise<void>((resolve) => {
      const over = (): void => {
        clearTimeout(timer);
        waiting.delete(over);
        if (waiting.size === 0 && this.#waiting.get(node) === waiting) this.#waiting.delete(node);
        resolve();
      };
      const timer = setTimeout(over, waitMs);
      signal.addEventListener('abort', over, { once: true });
      waiting.add(over);
    });
    return epochOf();
  }

  async #attempted(options: CarryCommon, serve: (hosted: Hosted) => Promise<Response>): Promise<Response> {
    try {
      const hosted = this.#byNode.get(options.node);
      if (hosted === undefined || hosted.epoch !== options.epoch) {
        throw new CognitoraError('link_lost', 'The link of the chosen node closed.');
      }
      return await serve(hosted);
    } catch (thrown) {
      options.onOver({ code: toCognitoraError(thrown).code });
      throw withPlace(thrown, options.receipt.route, options.node);
    }
  }

  /** Asks a node for a snapshot of one of its feeds. Lost with its link, it is asked for again. */
  wantSnapshot(node: NodeId, want: KvWant): void {
    this.#byNode.get(node)?.link.wantSnapshot(want);
  }

  /** Tells a node of the fleet's KV, if its link is here. */
  tellKv(node: NodeId, frame: KvToAgent, payload: Uint8Array): void {
    this.#byNode.get(node)?.link.tellKv(frame, payload);
  }

  /** Ends every link of a node that was removed, those that have not said HELLO too. */
  evict(node: NodeId): void {
    for (const hosted of [...this.#bySocket.values()]) {
      if (hosted.node !== node) continue;
      hosted.link.goaway({ code: 'not_enrolled', message: 'The operator removed this node from the edge.' });
      this.#drop(hosted, 1008, 'not_enrolled');
    }
  }

  /** Every node is told to leave and dial again; used before a planned stop. */
  goaway(message: string): void {
    for (const { link } of this.#bySocket.values()) link.goaway({ code: 'leaving', message });
  }

  async #carry(hosted: Hosted, options: CarryOptions): Promise<Response> {
    const { open, request } = options;
    const { body } = request;
    const isWhole = open.bodyBytes <= frameBodyBytesMax;
    const firstBytes = isWhole ? new Uint8Array(await request.arrayBuffer()) : new Uint8Array();
    const begin: Begin = (link, handler) => link.open(open, firstBytes, isWhole, handler);
    const { answer, id, abandon } = this.#answer(hosted, options, open, begin);
    if (!isWhole && body !== null) this.#state.waitUntil(sendBody(hosted.link, id, body).catch(abandon));
    return await answer;
  }

  /** Begins a stream and hears it to its end. Throws `client_gone` when nobody is there to hear it any more. */
  #answer(
    hosted: Hosted,
    options: CarryCommon,
    { requestId, replica, stream, remainingMs }: Asked,
    begin: Begin,
  ): { readonly answer: Promise<Response>; readonly id: StreamId; readonly abandon: () => void } {
    const { signal } = options.request;
    // One that fired already tells no listener.
    if (signal.aborted) throw new CognitoraError('client_gone', 'The client left.');
    const { link, carried } = hosted;
    const response = new CarriedResponse({
      clock: this.#clock,
      isStream: stream,
      headers: [
        ['x-request-id', requestId],
        [nodeHeader, hosted.node],
        ['x-cognitora-region', options.region],
        ['x-cognitora-cache', options.receipt.cache],
        [routeHeader, options.receipt.route],
      ],
      remainingMs,
      ackMsMax: hosted.ackMs.get(replica) ?? ackMsMax,
      onConsumed: (bytes) => {
        client.wrote();
        link.consumed(id, bytes);
      },
      onCancel: (reason) => link.cancel(id, reason),
      onFirstByte: options.onFirstByte,
      onOver: options.onOver,
      onDone: () => {
        client.over();
        carried.delete(id);
      },
    });
    const id = begin(link, response);
    carried.set(id, response);
    const client = watchClient(options.client, this.#clock, () => {
      link.cancel(id, 'client_gone');
      // The Worker hears that nobody is there to be told more.
      response.fail({ code: 'client_gone', message: 'The client hung up.' });
      response.settled();
    });
    const abandon = (): void => response.abandon();
    signal.addEventListener('abort', abandon, { once: true });
    const answer = response.response.finally(() => signal.removeEventListener('abort', abandon));
    return { answer, id, abandon };
  }

  /** The same for each dial of a node: a new link brings it nothing new to say. */
  #framesOf(node: NodeId): TokenBucket {
    const frames = this.#frames.get(node) ?? newFrameBucket(this.#clock);
    this.#frames.delete(node);
    this.#frames.set(node, frames);
    for (const oldest of this.#frames.keys()) {
      if (this.#frames.size <= linksPerObjectMax) break;
      this.#frames.delete(oldest);
    }
    return frames;
  }

  #hello(hosted: Hosted, hello: Hello, region: Region): void {
    if (hello.versionMax < versionMin || hello.versionMin > versionMax) {
      throw new CognitoraError(
        'version_unsupported',
        `This edge speaks versions ${versionMin} to ${versionMax}; upgrade ${hello.agent}.`,
      );
    }
    const { node, epoch } = hosted;
    const older = this.#byNode.get(node);
    if (older !== undefined && older.epoch > epoch) {
      throw new CognitoraError('superseded', 'A newer link of this node is open.');
    }
    if (older !== undefined) {
      older.link.goaway({ code: 'superseded', message: 'A newer link of this node opened.' });
      this.#drop(older, 1008, 'superseded');
    }
    this.#byNode.set(node, hosted);
    hosted.ackMs = ackMsOf(hello.replicas);
    hosted.link.welcome(hello, {
      version: Math.min(versionMax, hello.versionMax),
      epoch,
      region,
      heartbeatMs,
      leaseMs: leaseMsMax,
      streamWindowBytes: edgeStreamWindowBytes,
      linkWindowBytes: edgeLinkWindowBytes,
      prefix: this.#prefix,
    });
    this.#reports.joined(node, epoch, hello, region);
    for (const wake of this.#waiting.get(node) ?? []) wake();
  }

  #heardAtMs(hosted: Hosted): number {
    const now = this.#clock();
    // The clock was set back: the lease runs from now on.
    hosted.heardAtMs = Math.min(hosted.heardAtMs, now);
    // The platform answers pings without us; ask it only when nothing else was heard of late.
    if (now - hosted.heardAtMs > heartbeatMs) {
      const ponged = this.#state.getWebSocketAutoResponseTimestamp(hosted.socket)?.getTime() ?? 0;
      // One that lies ahead was before the clock was set back.
      if (ponged <= now) hosted.heardAtMs = Math.max(hosted.heardAtMs, ponged);
    }
    return hosted.heardAtMs;
  }

  #sweep(): void {
    const now = this.#clock();
    if (this.#lateSweeps?.isLate(now)) return;
    for (const hosted of [...this.#bySocket.values()]) {
      hosted.acceptedAtMs = Math.min(hosted.acceptedAtMs, now);
      if (!hosted.link.isOpen && now - hosted.acceptedAtMs > helloMsMax) {
        this.#drop(hosted, 1002, 'no HELLO');
      } else if (now - this.#heardAtMs(hosted) > leaseMsMax) this.#drop(hosted, 1001, 'silent');
      else {
        hosted.link.askDue();
        const stallMsMax = hosted.link.isStarved ? crowdedStallMsMax : clientStallMsMax;
        for (const response of [...hosted.carried.values()]) response.sweep(now, stallMsMax, hosted.saidAtMs);
      }
    }
  }

  #drop(hosted: Hosted, code: number, reason: string): void {
    if (!this.#bySocket.delete(hosted.socket)) return;
    if (this.#byNode.get(hosted.node) === hosted) this.#byNode.delete(hosted.node);
    hosted.link.close(hosted.isLeaving ? 'The node is stopping.' : 'The link to the node was lost.');
    closeQuietly(hosted.socket, code, reason);
    this.#reports.left(hosted.node, hosted.epoch);
    if (this.#bySocket.size > 0 || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

const ackMsOf = (replicas: readonly ReplicaReport[]): ReadonlyMap<ReplicaName, number> =>
  new Map(replicas.flatMap(({ name, ackMs }) => (ackMs === undefined ? [] : [[name, ackMs] as const])));

/** Feeds a long body as credit allows, through one buffer; rejects when the body breaks off. */
const sendBody = async (link: EdgeLink, id: StreamId, body: ReadableStream<Uint8Array>): Promise<void> => {
  const reader = body.getReader({ mode: 'byob' });
  let view = new Uint8Array(bodyPartBytes);
  for (;;) {
    const read: ReadableStreamReadResult<Uint8Array> = await reader.read(view);
    if (read.done) break;
    await link.write(id, read.value);
    view = new Uint8Array(read.value.buffer as ArrayBuffer);
  }
  link.finish(id);
};

const sendQuietly = (socket: WebSocket, message: Uint8Array): void => {
  try {
    socket.send(message);
  } catch {
    // The socket is closing: its close event ends the streams.
  }
};

const closeQuietly = (socket: WebSocket, code: number, reason: string): void => {
  try {
    socket.close(code, reason);
  } catch {
    // Already closed.
  }
};
