/**
 * One run's world: a fleet, an edge and what is between them, on one schedule. Offers what faults and traffic do to it;
 * decides neither when nor whether it was right.
 */
import { createHash } from 'node:crypto';
import type { NodeId } from '@cognitora/protocol/ids';
import { helloMsMax } from '@cognitora/protocol/limits';
import { linkPath } from '@cognitora/protocol/link';
import type { DialEvents } from './agent-modules.ts';
import { Connection } from './connection.ts';
import type { HostedSocket } from './hosted-socket.ts';
import { HttpExchange } from './http-exchange.ts';
import { allTenants, type Plan } from './plan.ts';
import { type HostedObject, Platform } from './platform.ts';
import type { Programs } from './programs.ts';
import { Chance } from './random.ts';
import { type Channel, Schedule, Trace } from './schedule.ts';
import { edgeUrl, SimAgent } from './sim-agent.ts';
import { type RequestPlan, SimClient } from './sim-client.ts';
import { SimEngine, type Work } from './sim-engine.ts';
import { globalsOf, SimProcess } from './sim-process.ts';
import { Watch } from './watch.ts';

const fleetSecret = 'a fleet secret of 32 characters!';
const region = 'local';

/** From a report at a node's object to the region that decides by it, and back. */
const newsMs = 500;

/** What the simulation reads of a region's own status. */
export interface RegionView {
  readonly ready: boolean;
  readonly links: number;
  readonly streams: number;
  readonly nodes: readonly {
    readonly name: string;
    readonly live: number;
    readonly cordoned: boolean;
    readonly replicas: readonly { readonly name: string; readonly state: string }[];
  }[];
}

/** And of its admission. */
interface AdmissionSide {
  readonly waiting: number;
  readonly live: number;
}

export interface AdmissionView {
  readonly models: readonly (AdmissionSide & { readonly model: string })[];
  readonly tenants: readonly (AdmissionSide & { readonly tenant: string })[];
}

interface EdgeExports {
  readonly mintToken: (secret: string, kind: string) => Promise<string>;
  readonly tokenHash: (token: string) => Promise<string>;
}

export class World {
  readonly schedule = new Schedule();
  readonly trace: Trace;
  readonly chance: Chance;
  readonly platform: Platform;
  readonly agents: readonly SimAgent[];
  readonly clients: SimClient[] = [];
  readonly violations: string[] = [];
  edgeSkewMs = 0;
  diskMs = 0;
  areCallsRepeated = false;
  readonly #plan: Plan;
  readonly #programs: Programs;
  readonly #watch: Watch;
  readonly #admin: SimProcess;
  readonly #adminChannels: { readonly up: Channel; readonly down: Channel };
  readonly #held = new Set<SimAgent>();
  /** Whose next link is stuck, for how long. */
  readonly #stuckMs = new Map<SimAgent, number>();
  readonly #skews = new Map<string, number>();
  /** When the edge's clock last jumped. */
  #jumpedAtMs = Number.NEGATIVE_INFINITY;
  #regionHeldUntilMs = 0;
  #isEdgeDown = false;
  #cordons: Promise<void> = Promise.resolve();
  /** By tenant. */
  readonly #keys = new Map<string, string>();

  constructor(plan: Plan, programs: Programs, isTraceKept: boolean) {
    this.#plan = plan;
    this.#programs = programs;
    this.trace = new Trace(this.schedule, isTraceKept);
    this.chance = new Chance(`world ${plan.seed}`);
    this.platform = new Platform({
      schedule: this.schedule,
      trace: this.trace,
      chance: this.chance.fork('platform'),
      program: programs.edge,
      variables: {
        REGIONS: region,
        LAYOUT: plan.layout,
        ADMIN_KEY_HASH: createHash('sha256').update('admin').digest('hex'),
        FLEET_SECRET: fleetSecret,
      },
      hopMs: this.#delay('hops', plan.hopMs),
      clockSkewMs: () => this.edgeSkewMs,
      diskMs: () => this.diskMs,
      areCallsRepeated: () => this.areCallsRepeated,
    });
    this.#admin = new SimProcess('operator', this.schedule, this.trace, this.chance.fork('operator'));
    this.#adminChannels = { up: this.platform.newChannel(), down: this.platform.newChannel() };
    this.#watch = new Watch({
      schedule: this.schedule,
      violate: (what) => this.violate(what),
      trace: this.trace,
      request: (id) => this.clients.find((client) => client.id === id),
      newsMs: (heardAtMs) => Math.max(heardAtMs, this.#regionHeldUntilMs) + newsMs,
      isClockSound: () => this.schedule.nowMs - this.#jumpedAtMs > 15_000,
    });
    this.agents = plan.nodes.map((engines, index) => this.#newAgent(`host${index}`, engines));
  }

  get region(): HostedObject {
    return this.platform.object('Region', region);
  }

  get registry(): HostedObject {
    return this.platform.object('Registry', 'registry');
  }

  /** Undefined in the layout without such objects. */
  nodeObject(agent: SimAgent): HostedObject | undefined {
    if (this.#plan.layout === 'one-object') return undefined;
    return this.platform.object('NodeLink', `${region}/${agent.node}`);
  }

  violate(what: string): void {
    this.violations.push(`${(this.schedule.nowMs / 1000).toFixed(3)} s: ${what}`);
    this.trace.note('violation', what);
  }

  /** A delay that varies: now and then it is several times as long. */
  #delay(name: string, ms: number): () => number {
    const chance = this.chance.fork(name);
    return () => ms * (chance.isHit(0.05) ? chance.between(1, 5) : chance.between(0.7, 1.3));
  }

  #newAgent(name: string, engines: Plan['nodes'][number]): SimAgent {
    const { schedule, trace, chance } = this;
    const made = engines.map(({ model, firstMs, nextMs, slots, paddingBytes }, index) => {
      const own = chance.fork(`${name}/engine${index}`);
      const process = new SimProcess(`${name}/r${index}`, schedule, trace, own);
      const pace = {
        firstMs: () => firstMs * own.between(0.5, 2),
        nextMs: () => nextMs * own.between(0.2, 2),
      };
      const origin = `http://127.0.0.1:${8000 + index}`;
      const onWork = (work: Work): void => this.#judgeWork(work, process.name);
      return new SimEngine({
        ...{ origin, model, slots, paddingBytes, pace, process, chance: own.fork('engine'), onWork },
      });
    });
    return new SimAgent({
      ...{ name, schedule, trace, fleetSecret, engines: made },
      chance: chance.fork(name),
      program: this.#programs.agent,
      clockSkewMs: () => this.#skews.get(name) ?? 0,
      loopbackMs: this.#delay(`${name} loopback`, 0.2),
      dial: (agent, authorization, asked, events) => this.#dial(agent, authorization, asked, events),
    });
  }

  /** Who refuses an answer of two engines gets none. */
  #judgeWork({ requestId, emittedChars }: Work, engine: string): void {
    const client = this.clients.find(({ id }) => id === requestId);
    if (emittedChars > 0 && client?.plan.refusesContinuation)
      this.violate(`${engine} goes on with ${requestId}, which refuses that`);
  }

  #dial(agent: SimAgent, authorization: string, asked: string, events: DialEvents): void {
    const { linkMs } = this.#plan;
    // Nothing comes through, not even a refusal: the dial times out.
    if (this.#held.has(agent) || agent.process === undefined) return;
    if (this.#isEdgeDown) {
      this.schedule.after(linkMs, () => events.failed('connect ECONNREFUSED'));
      return;
    }
    const delayMs = this.#delay(`${agent.name} dial ${this.schedule.nowMs}`, linkMs);
    const { worker } = this.platform;
    const query = asked === '' ? '' : `?region=${asked}`;
    const headers: [string, string][] = [
      ['authorization', authorization],
      ['upgrade', 'websocket'],
    ];
    const exchange = new HttpExchange(
      {
        ...{ caller: agent.process, handler: worker.process, delayMs, windowBytes: 65_536 },
        handle: worker.fetch,
        spoken: (say) => say(),
      },
      { url: `${edgeUrl.origin}${linkPath}${query}`, method: 'GET', headers, body: null, signal: undefined },
    );
    exchange.answer.then(
      async ({ status, webSocket, body }) => {
        if (status !== 101) return events.refused(status, await new Response(body).text());
        const connection = new Connection(this.schedule, delayMs, this.#watch.link(agent.name));
        agent.connection = connection;
        agent.connectedAtMs = this.schedule.nowMs;
        if (this.#held.has(agent)) connection.hold();
        const stuckMs = this.#stuckMs.get(agent);
        if (stuckMs !== undefined) this.#stick(agent, connection, stuckMs);
        events.opened(connection);
        (webSocket as HostedSocket).connect(connection);
      },
      (thrown: unknown) => events.failed(String(thrown)),
    );
  }

  /** Runs until then; what goes wrong on the way is in `violations`. */
  async runTo(untilMs: number): Promise<void> {
    await this.schedule.run(untilMs, (thrown) => this.violate(`somebody threw ${stackOf(thrown)}`));
  }

  /** Waits for a promise that simulated time fulfils. */
  async settled<Value>(work: Promise<Value>, withinMs: number): Promise<Value | undefined> {
    let value: { readonly is: Value } | undefined;
    work.then(
      (is) => {
        value = { is };
      },
      () => {},
    );
    const untilMs = this.schedule.nowMs + withinMs;
    while (value === undefined && this.schedule.nowMs < untilMs) await this.runTo(this.schedule.nowMs + 50);
    return value?.is;
  }

  ask(object: HostedObject, method: string, ...values: unknown[]): Promise<unknown> {
    return this.platform.call(this.#admin, object, method, values, this.#adminChannels);
  }

  async regionView(): Promise<RegionView | undefined> {
    return (await this.settled(this.ask(this.region, 'status'), 5_000)) as RegionView | undefined;
  }

  async admissionView(): Promise<AdmissionView | undefined> {
    return (await this.settled(this.ask(this.region, 'admission'), 5_000)) as AdmissionView | undefined;
  }

  /** Keys, limits and enrolments, then the hosts start. */
  async start(): Promise<void> {
    const { mintToken, tokenHash } = this.#programs.edge(
      globalsOf(this.#admin),
      {},
    ) as unknown as EdgeExports;
    for (const tenant of allTenants) {
      const token = await mintToken(fleetSecret, 'apiKey');
      this.#keys.set(tenant, token);
      const key = { hash: await tokenHash(token), tenant, name: 'simulated', scopes: ['chat'] };
      await this.settled(this.ask(this.registry, 'createKey', { ...key, expiresAtMs: undefined }), 1_000);
    }
    for (const { kind, name, limits } of this.#plan.limits) {
      await this.settled(this.ask(this.region, 'limit', kind, name, limits), 1_000);
    }
    const joinHash = await tokenHash(await mintToken(fleetSecret, 'joinToken'));
    const farMs = this.#admin.wallMs + 1e9;
    await this.settled(this.ask(this.registry, 'createJoinToken', joinHash, farMs, 100), 1_000);
    for (const { node, name } of this.agents) {
      await this.settled(this.ask(this.registry, 'enrol', joinHash, node, name), 1_000);
    }
    for (const agent of this.agents) agent.start();
  }

  request(id: string, plan: RequestPlan): SimClient {
    const process = new SimProcess(id, this.schedule, this.trace, this.chance.fork(id));
    const client = new SimClient(id, plan, process, this.platform, (what) => this.violate(what));
    this.clients.push(client);
    const key = this.#keys.get(plan.tenant) ?? '';
    client.start(key, this.#isEdgeDown ? undefined : this.#delay(id, this.#plan.clientMs));
    return client;
  }

  /** Whether something between this agent and the edge is amiss now, known to them or not. */
  isTroubled(agent: SimAgent): boolean {
    const isLinked = agent.connection?.isSound === true && agent.status?.link.state === 'linked';
    const hosts = [agent.process, this.region.process, this.nodeObject(agent)?.process];
    const isHeldUp = hosts.some((process) => process?.isHeldUp === true);
    return !isLinked || isHeldUp || this.#held.has(agent) || this.#isEdgeDown;
  }

  hold(agent: SimAgent): void {
    this.#held.add(agent);
    agent.connection?.hold();
  }

  release(agent: SimAgent): void {
    this.#held.delete(agent);
    agent.connection?.release();
  }

  /** What the agent says on its next link arrives late; it ends meanwhile, and its next life links before that. */
  overtakeNextLink(agent: SimAgent, lateMs: number): void {
    this.#stuckMs.set(agent, Math.min(lateMs, helloMsMax));
  }

  #stick(agent: SimAgent, connection: Connection, lateMs: number): void {
    this.#stuckMs.delete(agent);
    connection.hold();
    this.schedule.after(lateMs / 4, () => {
      agent.vanish();
      agent.start();
    });
    this.schedule.after(lateMs, () => connection.release());
  }

  /** The whole edge ends, and is back later. */
  edgeDown(ms: number): void {
    this.#isEdgeDown = true;
    this.platform.crash();
    this.schedule.after(ms, () => {
      this.#isEdgeDown = false;
    });
  }

  /** The region's object gets no CPU for a while, so that nothing is news to it. */
  holdUpRegion(ms: number): void {
    this.region.process.holdUp(ms);
    this.#regionHeldUntilMs = Math.max(this.#regionHeldUntilMs, this.schedule.nowMs + ms);
  }

  skewEdge(ms: number): void {
    this.edgeSkewMs = ms;
    this.#jumpedAtMs = this.schedule.nowMs;
  }

  skewAgent(agent: SimAgent, ms: number): void {
    this.#skews.set(agent.name, ms);
  }

  /** As the operator says it: again until the edge confirms it. */
  cordon(agent: SimAgent, isCordoned: boolean): void {
    const say = async (): Promise<void> => {
      for (;;) {
        if (!isCordoned) this.#watch.uncordoned(agent.name);
        try {
          await this.ask(this.region, isCordoned ? 'cordon' : 'uncordon', agent.node satisfies NodeId);
          if (isCordoned) this.#watch.cordoned(agent.name);
          return;
        } catch {
          await new Promise<void>((accept) => this.#admin.after(200, accept));
        }
      }
    };
    this.#cordons = this.#cordons.then(say);
  }
}

const stackOf = (thrown: unknown): string =>
  thrown instanceof Error ? String(thrown.stack) : String(thrown);
