/**
 * The object of one region: shell around its directory, and in the layout `one-object` around its nodes' links too, so
 * that deciding and carrying are one hop. Durable: the epoch and the last dial of each node, written before they are
 * used. Everything else is rebuilt from the agents' HELLOs.
 */
import { DurableObject } from 'cloudflare:workers';
import { CognitoraError, toCognitoraError } from '@cognitora/protocol/errors';
import type { Epoch, NodeId } from '@cognitora/protocol/ids';
import { dialSkewMsMax, leaseMsMax } from '@cognitora/protocol/limits';
import type { Hello, ModelCard, ReplicaReport } from '@cognitora/protocol/link';
import { systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { errorResponse } from '../error-response.ts';
import { decodeCarry, openHeader, readLinkRequest } from '../link/carry-request.ts';
import { LinkHost } from '../link/link-host.ts';
import { type Outcome, refusal, unwrap } from '../outcome.ts';
import { systemRandom } from '../random.ts';
import { type Decision, Directory, type NodeView, type Reservation } from './directory.ts';

export interface RegionStatus {
  readonly ready: boolean;
  readonly models: readonly ModelCard[];
  readonly nodes: readonly NodeView[];
  readonly links: number;
  readonly streams: number;
}

export class Region extends DurableObject<Env> {
  readonly #directory = new Directory();
  readonly #host: LinkHost;
  /** Layout `object-per-node`: when each node's object last vouched for its link. */
  readonly #vouchedAtMs = new Map<NodeId, number>();

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    state.storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS nodes (
        node TEXT PRIMARY KEY, epoch INTEGER NOT NULL, dialed_at_ms INTEGER NOT NULL
      ) WITHOUT ROWID`,
    );
    this.#host = new LinkHost(state, systemClock, {
      joined: (node, epoch, hello) => this.joined(node, epoch, hello),
      reported: (node, epoch, replicas) => this.reported(node, epoch, replicas),
      left: (node, epoch) => this.left(node, epoch),
    });
  }

  /** The two things that need a Request: a dial's upgrade, and a client's request to carry. */
  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.has(openHeader)) return await this.#serve(request);
      const { region, node, dialedAtMs } = readLinkRequest(request.headers);
      return this.#host.accept(region, node, unwrap(this.nextEpoch(node, dialedAtMs)));
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

  /**
   * Numbers a node's dial, durably. Refuses one that is not newer than the last: it may be a recording. A last dial
   * later than any that is let in now is from before the clock was set back, and proves nothing.
   */
  nextEpoch(node: NodeId, dialedAtMs: number): Outcome<Epoch> {
    const { sql } = this.ctx.storage;
    const [known] = sql.exec('SELECT epoch, dialed_at_ms FROM nodes WHERE node = ?', node).toArray();
    const lastMs = Number(known?.dialed_at_ms ?? 0);
    if (lastMs >= dialedAtMs && lastMs <= systemClock() + dialSkewMsMax) {
      const message = 'This dial is not newer than the last. Check the host’s clock.';
      return refusal(new CognitoraError('identity_refused', message));
    }
    const epoch = (known === undefined ? 1 : Number(known.epoch) + 1) as Epoch;
    sql.exec(
      `INSERT INTO nodes (node, epoch, dialed_at_ms) VALUES (?1, ?2, ?3)
       ON CONFLICT (node) DO UPDATE SET epoch = ?2, dialed_at_ms = ?3`,
      node,
      epoch,
      dialedAtMs,
    );
    return { value: epoch };
  }

  status(): RegionStatus {
    const isLeased = (node: NodeId): boolean => this.#isLeased(node);
    return {
      ready: this.#directory.isReady(isLeased),
      models: this.#directory.models(isLeased),
      nodes: this.#directory.nodes(),
      links: this.#host.links,
      streams: this.#host.streams,
    };
  }

  /** Tells every node of this object to leave and dial again. */
  goaway(): void {
    this.#host.goaway('The edge is stopping.');
  }

  /** Layout `object-per-node`: chooses and books; the Worker carries the request to the node's object. */
  decide(model: string): Outcome<Decision> {
    try {
      return { value: this.#decide(model) };
    } catch (thrown) {
      return refusal(toCognitoraError(thrown));
    }
  }

  joined(node: NodeId, epoch: Epoch, hello: Hello): void {
    this.vouched(node);
    this.#directory.join(node, epoch, hello.name, hello.replicas, systemClock());
  }

  reported(node: NodeId, epoch: Epoch, replicas: readonly ReplicaReport[]): void {
    this.#directory.report(node, epoch, replicas, systemClock());
  }

  left(node: NodeId, epoch: Epoch): void {
    this.#directory.leave(node, epoch, systemClock());
  }

  /** A node's object says that its link was heard just now. */
  vouched(node: NodeId): void {
    this.#vouchedAtMs.set(node, systemClock());
  }

  released(reservations: readonly Reservation[]): void {
    for (const reservation of reservations) this.#directory.release(reservation);
  }

  #isLeased(node: NodeId): boolean {
    if (settingsOf(this.env).layout === 'one-object') return this.#host.isLeased(node);
    const now = systemClock();
    const vouchedAtMs = Math.min(this.#vouchedAtMs.get(node) ?? 0, now);
    // The clock was set back: the lease runs from now on.
    if (vouchedAtMs === now) this.#vouchedAtMs.set(node, now);
    return now - vouchedAtMs < leaseMsMax;
  }

  #decide(model: string): Decision {
    const nowMs = systemClock();
    return this.#directory.decide({
      model,
      nowMs,
      isLeased: (node) => this.#isLeased(node),
      random: systemRandom,
    });
  }

  async #serve(request: Request): Promise<Response> {
    const carry = decodeCarry(request.headers);
    const { reservation, node, epoch, replica } = this.#decide(carry.open.model);
    return this.#host.carry({
      node,
      epoch,
      open: { ...carry.open, replica },
      request,
      region: carry.region,
      client: carry.client,
      onOver: () => this.#directory.release(reservation),
    });
  }
}
