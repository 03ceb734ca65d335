/**
 * Looks now and then for engines that work for nobody: a request's work ends soon after its client did, as soon as the
 * host can know of it, and at the latest when its agent has been without a link for so long that nobody can claim it.
 */
import { linklessMsMax, unclaimedMsMax } from '@cognitora/protocol/limits';
import type { SimAgent } from './sim-agent.ts';
import type { World } from './world.ts';

/** An agent looks once a second. */
const sweepMs = 1_000;
/** For messages on their way, and between two looks here. */
const slackMs = 1_500;

interface Seen {
  /** When its link, or what hosts that, was last amiss. */
  troubledAtMs: number;
  /** Since when it has known that it has none. */
  linklessSinceMs: number | undefined;
  /** When it last had no CPU: what it is late with then it does next. */
  heldUpAtMs: number;
}

export class LostWork {
  readonly #world: World;
  readonly #seen = new Map<SimAgent, Seen>();
  readonly #told = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  look(): void {
    for (const agent of this.#world.agents) {
      const seen = this.#see(agent);
      for (const { work, process } of agent.engines) {
        for (const { requestId } of work) this.#judge(requestId, process.name, seen);
      }
    }
  }

  #see(agent: SimAgent): Seen {
    const { nowMs } = this.#world.schedule;
    const seen = this.#seen.get(agent) ?? { troubledAtMs: 0, linklessSinceMs: undefined, heldUpAtMs: 0 };
    this.#seen.set(agent, seen);
    // A link that was lost and is back lies between two looks.
    seen.troubledAtMs = Math.max(seen.troubledAtMs, agent.connectedAtMs);
    if (this.#world.isTroubled(agent)) seen.troubledAtMs = nowMs;
    if (agent.process?.isHeldUp) seen.heldUpAtMs = nowMs;
    const isLinkless = agent.isRunning && agent.status?.link.state !== 'linked';
    seen.linklessSinceMs = isLinkless ? (seen.linklessSinceMs ?? nowMs) : undefined;
    return seen;
  }

  #judge(requestId: string, engine: string, { troubledAtMs, linklessSinceMs, heldUpAtMs }: Seen): void {
    const { nowMs } = this.#world.schedule;
    const client = this.#world.clients.find(({ id }) => id === requestId);
    if (client?.endedMs === undefined || this.#told.has(requestId + engine)) return;
    const claimableMs = troubledAtMs + unclaimedMsMax + sweepMs;
    const isOverdue = nowMs > Math.max(client.endedMs, claimableMs) + slackMs;
    const linklessMs = nowMs - Math.max(client.endedMs, linklessSinceMs ?? nowMs);
    const lateMs = Math.min(linklessMs - linklessMsMax, nowMs - heldUpAtMs);
    if (!isOverdue && lateMs <= sweepMs + slackMs) return;
    this.#told.add(requestId + engine);
    const forMs = Math.round(nowMs - client.endedMs);
    this.#world.violate(`${engine} works on ${requestId} ${forMs} ms after its client's end`);
  }
}
