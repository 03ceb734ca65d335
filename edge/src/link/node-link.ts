/**
 * The object of one node's link, in the layout `object-per-node`: on Cloudflare each has a thread of its own. Carries
 * what the region's object decided and tells it what it learns: joins, replicas, heartbeats, ends. Keeps nothing.
 */
import { DurableObject } from 'cloudflare:workers';
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId, Region as RegionName } from '@cognitora/protocol/ids';
import type { KvWant } from '@cognitora/protocol/kv';
import { heartbeatMs } from '@cognitora/protocol/limits';
import { leftOf, systemClock } from '../clock.ts';
import type { Reservation } from '../directory/load.ts';
import type { Ended, Region } from '../directory/region.ts';
import { type Env, settingsOf } from '../env.ts';
import { errorResponse } from '../error-response.ts';
import { regionObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';
import {
  type CarryRequest,
  decodeCarry,
  decodeResume,
  openHeader,
  type ResumeCarry,
  readLinkRequest,
  resumeHeader,
} from './carry-request.ts';
import type { KvToAgent } from './edge-link.ts';
import type { KvMessage } from './kv-intake.ts';
import { type CarryOptions, LinkHost } from './link-host.ts';

export class NodeLink extends DurableObject<Env> {
  readonly #host: LinkHost;
  #region: RegionName | undefined;
  /** What happened in this turn, told in one call. */
  #firstBytes: Reservation[] = [];
  #ends: Ended[] = [];
  #heard: KvMessage[] = [];
  /** What this node works on: the region takes back what it booked and nobody brought here. */
  readonly #carried = new Set<Reservation>();
  /** Reports go one after the other, in the order they happened. */
  #reports: Promise<unknown> = Promise.resolve();
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #vouchedEpoch: Epoch | undefined;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#host = new LinkHost(state, systemClock, settingsOf(env).prefix, {
      joined: (node, epoch, hello, name) => {
        this.#report((region) => region.joined(node, epoch, hello, name));
        this.#stopHeartbeat();
        this.#vouchedEpoch = epoch;
        this.#heartbeat = setInterval(() => {
          if (this.#host.isLeased(node)) this.#vouch(node, epoch);
        }, heartbeatMs);
      },
      reported: (node, epoch, replicas) => this.#report((region) => region.reported(node, epoch, replicas)),
      left: (node, epoch) => {
        this.#report((region) => region.left(node, epoch));
        // An agent that says it leaves finishes its streams, and is vouched for no more.
        if (epoch === this.#vouchedEpoch) this.#stopHeartbeat();
      },
      kv: (node, epoch, message) => this.#hear(node, epoch, message),
      measured: (node, epoch, telemetry) => this.#report((region) => region.measured(node, epoch, telemetry)),
    });
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.has(openHeader)) return await this.#serve(request, decodeCarry(request.headers));
      if (request.headers.has(resumeHeader))
        return await this.#resume(request, decodeResume(request.headers));
      const { region, node, ...dial } = readLinkRequest(request.headers);
      const stub = this.#regionStub(region);
      return this.#host.accept(region, node, unwrap(await stub.nextEpoch(node, dial)));
    } catch (thrown) {
      return errorResponse(thrown);
    }
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#host.message(socket, message);
  }

  override webSocketClose(socket: WebSocket): void {
    this.#host.gone(socket);
  }

  override webSocketError(socket: WebSocket): void {
    this.#host.gone(socket);
  }

  goaway(): void {
    this.#host.goaway('The edge is stopping.');
  }

  /** The node was removed. */
  evict(node: NodeId): void {
    this.#host.evict(node);
  }

  wantSnapshot(node: NodeId, want: KvWant): void {
    this.#host.wantSnapshot(node, want);
  }

  tellKv(node: NodeId, frame: KvToAgent, payload: Uint8Array): void {
    this.#host.tellKv(node, frame, payload);
  }

  async #serve(request: Request, { open, booked, region, client }: CarryRequest): Promise<Response> {
    if (booked === undefined) throw new CognitoraError('internal', 'A request came without a decision.');
    const { node, epoch, replica, reservation, receipt, kvFrom } = booked;
    this.#regionStub(region);
    return this.#host.carry({
      ...{ node, epoch, request, region, client, receipt },
      open: { ...open, replica, ...(kvFrom && { kvFrom }) },
      ...this.#settling(reservation),
    });
  }

  async #resume(request: Request, asked: ResumeCarry): Promise<Response> {
    const { region, client } = asked;
    const askedAtMs = systemClock();
    await this.#host.linked(asked.node, asked.waitMs, request.signal);
    // What was reported of the new link comes first.
    await this.#reports;
    const resume = { ...asked, remainingMs: leftOf(asked.remainingMs, askedAtMs) };
    const { node, epoch, reservation, receipt } = unwrap(await this.#regionStub(region).rebook(resume));
    return this.#host.resume({
      ...{ node, epoch, request, region, client, receipt, resume },
      ...this.#settling(reservation),
    });
  }

  #settling(reservation: Reservation): Pick<CarryOptions, 'onFirstByte' | 'onOver'> {
    this.#carried.add(reservation);
    return {
      onFirstByte: () => this.#settleSoon(() => this.#firstBytes.push(reservation)),
      onOver: (end) => {
        this.#carried.delete(reservation);
        this.#settleSoon(() => this.#ends.push({ ...end, reservation }));
      },
    };
  }

  #stopHeartbeat(): void {
    if (this.#heartbeat !== undefined) clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }

  /** Made for each call: one that found its object gone says so for ever. */
  #regionStub(region: RegionName): DurableObjectStub<Region> {
    this.#region = region;
    return regionObject(this.env, region);
  }

  /** First bytes and ends of one turn travel in one call. */
  #settleSoon(note: () => void): void {
    const isFirst = this.#firstBytes.length === 0 && this.#ends.length === 0;
    note();
    if (!isFirst) return;
    queueMicrotask(() => {
      const [firstBytes, ends] = [this.#firstBytes, this.#ends];
      this.#firstBytes = [];
      this.#ends = [];
      this.#report((region) => region.settled(firstBytes, ends));
    });
  }

  /** What an agent says of caches and KV within one turn travels in one call, in its order. */
  #hear(node: NodeId, epoch: Epoch, message: KvMessage): void {
    this.#heard.push(message);
    if (this.#heard.length > 1) return;
    queueMicrotask(() => {
      const heard = this.#heard;
      this.#heard = [];
      this.#report((region) => region.heard(node, epoch, heard));
    });
  }

  #vouch(node: NodeId, epoch: Epoch): void {
    this.#report(async (region) => {
      if (!(await region.vouched(node, epoch, [...this.#carried]))) this.#regionLost();
    });
  }

  #report(call: (region: DurableObjectStub<Region>) => unknown): void {
    const region = this.#region;
    if (region === undefined) return;
    this.#reports = this.#reports
      .then(() => call(regionObject(this.env, region)))
      .catch(() => this.#regionLost());
    this.ctx.waitUntil(this.#reports);
  }

  /** The region's object restarted and knows nobody: the node dials again and says HELLO anew. */
  #regionLost(): void {
    this.#host.goaway('The region restarted.');
  }
}
