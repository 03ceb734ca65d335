/**
 * Looks now and then at the region's queues: who waits there is a client that is still there, or left a moment ago.
 * Looks only where an object is in memory and runs, so that looking changes nothing.
 */
import type { AdmissionView, World } from './world.ts';

/** Until a region hears that a client left: ways, and an object that is held up. */
const slackMs = 5_000;

export class Queues {
  readonly #world: World;
  #isTold = false;

  constructor(world: World) {
    this.#world = world;
  }

  look(): void {
    const { region, clients, schedule } = this.#world;
    if (this.#isTold || !region.isAwake || region.process.isHeldUp) return;
    const view = region.instance.admission?.() as AdmissionView;
    let waiting = 0;
    for (const model of view.models) waiting += model.waiting;
    const there = clients.filter(({ endedMs }) => (endedMs ?? schedule.nowMs) >= schedule.nowMs - slackMs);
    if (waiting <= there.length) return;
    this.#isTold = true;
    this.#world.violate(`${waiting} requests wait of ${there.length} clients`);
  }
}
