/**
 * Looks now and then at the region's queues: who waits there is a client that is still there, or left a moment ago, and
 * of a model wait no more than its queue's bound allows. Looks only where an object is in memory and runs, so that
 * looking changes nothing.
 */
import type { LimitPlan } from './plan.ts';
import type { SimClient } from './sim-client.ts';
import type { SimProcess } from './sim-process.ts';
import type { AdmissionView, World } from './world.ts';

/** Until a region hears that a client left: ways, and an object that is held up. */
const slackMs = 5_000;
/** What an agent does on a link that is as old as this is no longer what it kept of an older one. */
const settledLinkMs = 6_000;

export class Queues {
  readonly #world: World;
  readonly #queueMax: ReadonlyMap<string, number>;
  readonly #told = new Set<string>();
  /** Requests whose region lost its memory: it takes them for ones that were let in, as they may have been. */
  readonly #orphaned = new Set<SimClient>();
  #region: SimProcess | undefined;
  /** Models of which too many waited at the last look: what was over then may not have been known to be. */
  #crowded: ReadonlySet<string> = new Set();

  constructor(world: World, limits: readonly LimitPlan[]) {
    this.#world = world;
    this.#queueMax = new Map(
      limits.flatMap(({ kind, name, limits: { queueMax } }) =>
        kind === 'models' && queueMax !== undefined ? [[name, queueMax] as const] : [],
      ),
    );
  }

  look(): void {
    const { region, clients, schedule } = this.#world;
    if (!region.isAwake || region.process.isHeldUp) return;
    if (this.#region !== region.process) for (const client of clients) this.#orphaned.add(client);
    this.#region = region.process;
    const view = region.instance.admission?.() as AdmissionView;
    const { models } = view;
    const there = clients.filter(({ endedMs }) => (endedMs ?? schedule.nowMs) >= schedule.nowMs - slackMs);
    const waiting = models.reduce((sum, model) => sum + model.waiting, 0);
    if (waiting > there.length) this.#tell(`${waiting} requests wait of ${there.length} clients`);
    this.#lookAtBounds(models, there);
  }

  #lookAtBounds(models: AdmissionView['models'], there: readonly SimClient[]): void {
    const crowded = new Set<string>();
    for (const { model, waiting } of models) {
      const queueMax = this.#queueMax.get(model);
      if (queueMax === undefined || waiting <= queueMax) continue;
      const again = there.filter((client) => client.plan.model === model && this.#mayWaitAgain(client));
      if (waiting <= queueMax + again.length) continue;
      crowded.add(model);
      if (!this.#crowded.has(model)) continue;
      this.#tell(
        `${waiting} wait for ${model}, at most ${again.length} again, and its queue takes ${queueMax}`,
      );
    }
    this.#crowded = crowded;
  }

  /** Retries and continued answers find place beyond the bound: it was decided before, and no engine is at it now. */
  #mayWaitAgain(client: SimClient): boolean {
    if (this.#orphaned.has(client)) return true;
    const receipts = this.#world.region.instance.receipts?.(client.id) as readonly unknown[];
    return receipts.length > 0 && !this.#isServed(client);
  }

  #isServed({ id }: SimClient): boolean {
    const { agents, schedule } = this.#world;
    return agents.some(
      (agent) =>
        schedule.nowMs - agent.connectedAtMs > settledLinkMs &&
        !this.#world.isTroubled(agent) &&
        agent.engines.some(({ work }) => work.some(({ requestId }) => requestId === id)),
    );
  }

  /** Once of each kind: what is too much stays so for long. */
  #tell(what: string): void {
    const kind = what.replaceAll(/\d+/g, '');
    if (this.#told.has(kind)) return;
    this.#told.add(kind);
    this.#world.violate(what);
  }
}
