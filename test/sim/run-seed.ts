/** One run from its seed: the traffic and the faults of its plan, then the end, when all has to be as at the begin. */
import { endedKeptMsMax } from '@cognitora/protocol/limits';
import { faults } from './faults.ts';
import { LostWork } from './lost-work.ts';
import { aftermathMs, type Excuse, maySee, outageMsMax, relinkMs } from './may-see.ts';
import { Memory } from './memory.ts';
import { type FaultKind, mendedMs, type Plan, planOf, proberTenant } from './plan.ts';
import type { Programs } from './programs.ts';
import { Queues } from './queues.ts';
import { Chance } from './random.ts';
import { isCrowding, type Outcome, type RequestPlan, type SimClient } from './sim-client.ts';
import { withStrayErrors } from './stray-errors.ts';
import { World } from './world.ts';

export interface Ran {
  readonly seed: number;
  readonly plan: Plan;
  readonly violations: readonly string[];
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly clients: readonly SimClient[];
  /** Streams that went on over a later link, as the agents that run at the end count them. */
  readonly resumed: number;
  /** Of the whole run: the same seed, the same hash. */
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly virtualMs: number;
  readonly events: number;
}

export interface RunOptions {
  /** A trace costs memory; its hash is always made. */
  readonly isTraceKept?: boolean;
  /** The kinds that the plan draws from. */
  readonly faults?: readonly FaultKind[] | undefined;
  /** Makes another plan of the one that was drawn. */
  readonly shape?: ((plan: Plan) => Plan) | undefined;
}

const lookEveryMs = 250;
/** A request that has not ended so long after all was mended never does. */
const patienceMs = 90_000;
/** A deadline is kept as exactly as this. */
const exactMs = 600;
const lateMsMax = 2_000;
/** The fleet is whole again by then. */
const recoveryMsMax = 60_000;

/** An answer that ended may be claimed for so long. */
const keptMsMax = endedKeptMsMax + 3_000;

/** A clock that jumped ahead ends all leases until the next heartbeats. */
const settleMs = 5_000;
/** Until what was booked and begun for clients that left is given back. */
const quietMs = 15_000;

class Run {
  readonly plan: Plan;
  readonly world: World;
  readonly #menders = new Set<() => void>();
  readonly #lost: LostWork;
  /** When all engines were first ready: most fleets stand before their traffic begins. */
  #stoodAtMs = Number.POSITIVE_INFINITY;
  readonly #queues: Queues;
  readonly #memory: Memory;

  constructor(seed: number, programs: Programs, options: RunOptions) {
    const { isTraceKept = false, faults: kinds, shape } = options;
    const plan = planOf(seed, new Chance(`plan ${seed}`), kinds);
    this.plan = shape === undefined ? plan : shape(plan);
    this.world = new World(this.plan, programs, isTraceKept);
    this.#lost = new LostWork(this.world);
    this.#queues = new Queues(this.world, this.plan.limits);
    this.#memory = new Memory(this.world);
  }

  runWatched(): Promise<Ran> {
    return withStrayErrors(
      (what) => this.world.violate(`nobody caught ${what}`),
      () => this.#run(),
    );
  }

  async #run(): Promise<Ran> {
    const { world, plan } = this;
    await world.start();
    for (const [index, request] of plan.requests.entries()) {
      world.schedule.at(request.atMs, () => world.request(`req_${index}`, request));
    }
    for (const fault of plan.faults) world.schedule.at(fault.atMs, () => this.#strike(fault));
    world.schedule.at(mendedMs, () => {
      for (const mend of [...this.#menders]) mend();
    });
    this.#look();
    await world.runTo(mendedMs + 1);
    await this.#untilAllEnded();
    await this.#untilWhole();
    await world.runTo(Math.max(world.schedule.nowMs, mendedMs + settleMs));
    await this.#probe();
    await this.#quiet();
    this.#judge();
    return this.#ran();
  }

  #strike(fault: Plan['faults'][number]): void {
    const { world } = this;
    const agent = world.agents[fault.node % world.agents.length];
    const engine = agent?.engines[fault.engine % agent.engines.length];
    if (agent === undefined || engine === undefined) return;
    world.trace.note('fault', `${fault.kind} ${agent.name}`);
    const mend = faults[fault.kind]({ world, fault, agent, engine });
    if (mend === undefined) return;
    const once = (): void => {
      if (!this.#menders.delete(once)) return;
      world.trace.note('fault', `${fault.kind} ${agent.name} mended`);
      mend();
    };
    this.#menders.add(once);
    world.schedule.after(fault.lastsMs, once);
  }

  /** Whether anything was amiss between these times. */
  #faultsIn(fromMs: number, toMs: number): Plan['faults'] {
    return this.plan.faults.filter(
      ({ atMs, lastsMs }) => atMs <= toMs && atMs + lastsMs + aftermathMs >= fromMs,
    );
  }

  #look(): void {
    const { schedule } = this.world;
    schedule.after(lookEveryMs, () => {
      this.#look();
      this.#lost.look();
      this.#memory.look();
      this.#queues.look();
      if (this.#isStanding) this.#stoodAtMs = Math.min(this.#stoodAtMs, schedule.nowMs);
    });
  }

  get #isStanding(): boolean {
    return this.world.agents.every(({ status }) => status?.replicas.every(({ state }) => state === 'ready'));
  }

  async #untilAllEnded(): Promise<void> {
    const { world } = this;
    while (world.clients.some(({ outcome }) => outcome === undefined)) {
      if (world.schedule.nowMs > mendedMs + patienceMs) {
        for (const { id, outcome, text } of world.clients) {
          if (outcome === undefined) world.violate(`${id} never ended, behind ${text.length} characters`);
        }
        return;
      }
      await world.runTo(world.schedule.nowMs + 500);
    }
  }

  async #untilWhole(): Promise<void> {
    const { world } = this;
    const untilMs = Math.max(world.schedule.nowMs, mendedMs) + recoveryMsMax;
    for (;;) {
      const view = await world.regionView();
      const ready = view?.nodes.filter(
        ({ cordoned, replicas }) => !cordoned && replicas.every(({ state }) => state === 'ready'),
      );
      // The edge may still hear the end of a link that the agent gave up.
      const isLinked = world.agents.every(({ status }) => status?.link.state === 'linked');
      if (isLinked && ready?.length === world.agents.length) return;
      if (world.schedule.nowMs > untilMs) {
        world.violate(`the fleet is not whole again: ${JSON.stringify(view?.nodes)}`);
        return;
      }
      await world.runTo(world.schedule.nowMs + 500);
    }
  }

  /** One request for each model: complete, or the fleet only looks whole. */
  async #probe(): Promise<void> {
    const { world } = this;
    const models = new Set(this.plan.nodes.flat().map(({ model }) => model));
    const probes = [...models].map((model): SimClient => world.request(`probe_${model}`, probeOf(model)));
    await world.runTo(world.schedule.nowMs + 5_000);
    for (const { id, outcome, code } of probes) {
      if (outcome !== 'complete') world.violate(`${id} was ${outcome ?? 'not served'} ${code}`);
    }
  }

  /** What was booked and kept for requests is given back. */
  async #quiet(): Promise<void> {
    const { world } = this;
    await world.runTo(world.schedule.nowMs + quietMs);
    const view = await world.regionView();
    if (view === undefined) return world.violate('the region does not answer');
    for (const { name, live } of view.nodes)
      if (live !== 0) world.violate(`${name} has ${live} reservations`);
    await this.#noneWaits();
    this.#memory.lookAtEnd();
    if (view.streams !== 0) world.violate(`the region has ${view.streams} streams`);
    for (const { name, status, engines } of world.agents) {
      if (status?.live !== 0) world.violate(`${name} has ${status?.live} live requests`);
      for (const { work } of engines) if (work.length > 0) world.violate(`${name}'s engine has work`);
    }
    await world.runTo(world.schedule.nowMs + keptMsMax - quietMs);
    for (const { name, status } of world.agents) {
      const { bytes } = status?.kept ?? {};
      if (bytes !== 0) world.violate(`${name} keeps ${bytes} bytes of answers that are long over`);
    }
  }

  async #noneWaits(): Promise<void> {
    const { world } = this;
    const view = await world.admissionView();
    if (view === undefined) return world.violate('admission does not answer');
    const sides = [
      ...view.models.map(({ model, ...side }) => ({ name: model, ...side })),
      ...view.tenants.map(({ tenant, ...side }) => ({ name: tenant, ...side })),
    ];
    for (const { name, waiting, live } of sides) {
      if (waiting + live > 0) world.violate(`of ${name} ${waiting} wait and ${live} are counted as live`);
    }
  }

  #judge(): void {
    for (const client of this.world.clients) {
      const { id, plan, outcome, startedMs, endedMs, code } = client;
      this.#judgeTime(client);
      if (outcome === undefined || outcome === 'complete' || outcome === 'left') continue;
      // Its time was up, whatever else it is told.
      if ((endedMs ?? startedMs) - startedMs > (plan.timeoutMs ?? Number.POSITIVE_INFINITY) - exactMs)
        continue;
      if (this.#isCrowded(plan.model, plan.tenant) && isCrowding(code)) continue;
      if (startedMs < this.#stoodAtMs && outcome === 'refused') continue;
      const struck = this.#faultsIn(startedMs, endedMs ?? startedMs);
      const isServed =
        !plan.refusesContinuation &&
        !this.#isCrowded(plan.model, plan.tenant) &&
        this.#isServedBeside(plan.model, struck);
      const counting = struck.filter(({ kind }) => maySee[kind].of === 'edge' || !isServed);
      if (counting.some(({ kind }) => isExcused(client, maySee[kind], areBrief(struck)))) continue;
      const why = struck.map(({ kind, node }) => `${kind} ${node % this.world.agents.length}`).join(', ');
      this.world.violate(`${id} was ${outcome} ${code} because of ${why || 'nothing'}`);
    }
  }

  /** Whether who is one too many is refused, or waits until it is too late. */
  #isCrowded(model: string, tenant: string): boolean {
    const { limits, nodes } = this.plan;
    const hasLimit = limits.some(({ name }) => name === model || name === tenant);
    return hasLimit || nodes.flat().some((engine) => engine.model === model && engine.slots !== undefined);
  }

  /** A request is not served behind its deadline: the edge's sweeps and the client's way allow for a moment. */
  #judgeTime({ id, plan, startedMs, endedMs = Number.POSITIVE_INFINITY }: SimClient): void {
    const { timeoutMs, stallsAfterMs } = plan;
    if (timeoutMs === undefined || stallsAfterMs !== undefined) return;
    const lateMs = endedMs - startedMs - timeoutMs;
    const isEdgeStruck = this.#faultsIn(startedMs, endedMs).some(({ kind }) => maySee[kind].of === 'edge');
    if (lateMs > lateMsMax && !isEdgeStruck)
      this.world.violate(`${id} ended ${Math.round(lateMs)} ms behind its deadline`);
  }

  /** Whether a host serves the model that none of these faults struck. */
  #isServedBeside(model: string, struck: Plan['faults']): boolean {
    const { nodes } = this.plan;
    const hit = new Set(
      struck.filter(({ kind }) => maySee[kind].of === 'host').map(({ node }) => node % nodes.length),
    );
    return nodes.some(
      (engines, index) => !hit.has(index) && engines.some((engine) => engine.model === model),
    );
  }

  #ran(): Ran {
    const { world, plan } = this;
    const outcomes = { complete: 0, refused: 0, told: 0, broken: 0, left: 0 };
    for (const { outcome } of world.clients) if (outcome !== undefined) outcomes[outcome] += 1;
    return {
      seed: plan.seed,
      plan,
      violations: world.violations,
      outcomes,
      clients: world.clients,
      resumed: world.agents.reduce((sum, { status }) => sum + (status?.kept.resumed ?? 0), 0),
      traceHash: world.trace.hash,
      trace: world.trace.lines,
      virtualMs: world.schedule.nowMs,
      events: world.schedule.handled,
    };
  }
}

/** Whether those who wait for links have them again before their patience ends: each outage is short and by itself. */
const areBrief = (faults: Plan['faults']): boolean => {
  let outage = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.NEGATIVE_INFINITY };
  return faults.every(({ atMs }) => {
    outage = { fromMs: atMs - outage.toMs > relinkMs ? atMs : outage.fromMs, toMs: atMs };
    return atMs - outage.fromMs <= outageMsMax;
  });
};

const isExcused = (
  { outcome, text }: SimClient,
  { outcomes, isOutlived = false }: Excuse,
  areFaultsBrief: boolean,
): boolean => {
  if (isOutlived && areFaultsBrief && text !== '') return false;
  return outcomes.some((excused) => excused === outcome);
};

const probeOf = (model: string): RequestPlan => ({
  ...{ atMs: 0, kind: 'chat', model, tenant: proberTenant, pieces: 3, promptBytes: 0, isLimited: false },
  ...{ refusesContinuation: false, timeoutMs: undefined },
  ...{ leavesAfterMs: undefined, stallsAfterMs: undefined, stallMs: 0 },
});

export const runSeed = (seed: number, programs: Programs, options: RunOptions = {}): Promise<Ran> =>
  new Run(seed, programs, options).runWatched();
