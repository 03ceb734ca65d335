/**
 * The object of one node's link, in the layout `object-per-node`: on Cloudflare each has a thread of its own. Carries
 * what the region's object decided and tells it what it learns: joins, replicas, heartbeats, ends. Keeps nothing.
 */
import { DurableObject } from 'cloudflare:workers';
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Region as RegionName } from '@cognitora/protocol/ids';
import { heartbeatMs } from '@cognitora/protocol/limits';
import { systemClock } from '../clock.ts';
import type { Reservation } from '../directory/directory.ts';
import type { Region } from '../directory/region.ts';
import type { Env } from '../env.ts';
import { errorResponse } from '../error-response.ts';
import { regionObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';
import { type CarryRequest, decodeCarry, openHeader, readLinkRequest } from './carry-request.ts';
import { LinkHost } from './link-host.ts';

export class NodeLink extends DurableObject<Env> {
  readonly #host: LinkHost;
  #region: DurableObjectStub<Region> | undefined;
  #over: Reservation[] = [];
  /** Reports go one after the other, in the order they happened. */
  #reports: Promise<unknown> = Promise.resolve();
  #heartbeat: ReturnType<typeof setInterval> | undefined;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.#host = new LinkHost(state, systemClock, {
      joined: (node, epoch, hello) => {
        this.#report((region) => region.joined(node, epoch, hello));
        this.#stopHeartbeat();
        this.#heartbeat = setInterval(() => {
          if (this.#host.isLeased(node)) this.#report((region) => region.vouched(node));
        }, heartbeatMs);
      },
      reported: (node, epoch, replicas) => this.#report((region) => region.reported(node, epoch, replicas)),
      left: (node, epoch) => {
        this.#report((region) => region.left(node, epoch));
        if (this.#host.links === 0) this.#stopHeartbeat();
      },
    });
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.has(openHeader)) return await this.#serve(request, decodeCarry(request.headers));
      const { region, node, dialedAtMs } = readLinkRequest(request.headers);
      const stub = this.#regionStub(region);
      return this.#host.accept(region, node, unwrap(await stub.nextEpoch(node, dialedAtMs)));
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

  async #serve(request: Request, { open, booked, region, client }: CarryRequest): Promise<Response> {
    if (booked === undefined) throw new CognitoraError('internal', 'A request came without a decision.');
    const { node, epoch, replica, reservation } = booked;
    this.#regionStub(region);
    return this.#host.carry({
      node,
      epoch,
      open: { ...open, replica },
      request,
      region,
      client,
      onOver: () => this.#release(reservation),
    });
  }

  #stopHeartbeat(): void {
    if (this.#heartbeat !== undefined) clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }

  #regionStub(region: RegionName): DurableObjectStub<Region> {
    this.#region ??= regionObject(this.env, region);
    return this.#region;
  }

  /** Ends of one turn travel in one call. */
  #release(reservation: Reservation): void {
    this.#over.push(reservation);
    if (this.#over.length > 1) return;
    queueMicrotask(() => {
      const over = this.#over;
      this.#over = [];
      this.#report((region) => region.released(over));
    });
  }

  #report(call: (region: DurableObjectStub<Region>) => unknown): void {
    const region = this.#region;
    if (region === undefined) return;
    this.#reports = this.#reports.then(() => call(region)).catch(() => this.#regionLost());
    this.ctx.waitUntil(this.#reports);
  }

  /** The region's object restarted and knows nobody: the node dials again and says HELLO anew. */
  #regionLost(): void {
    this.#host.goaway('The region restarted.');
  }
}
