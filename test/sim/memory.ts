/**
 * Looks now and then at what is kept in memory: of answers by agents, of requests' bodies by the Worker. Each has a
 * bound of its own, and none is more than what the requests that there are can need: so small runs show large leaks.
 */
import {
  agentQueuedBytesMax,
  bodyBytesInFlightMaxWorkers,
  bodyBytesKeptMaxWorkers,
  edgeStreamWindowBytes,
  replayHostBytesMax,
  replayStreamBytesMax,
} from '@cognitora/protocol/limits';
import { socketBytesMax } from './agent-modules.ts';
import { hopWindowBytes } from './platform.ts';
import { clientWindowBytes } from './sim-client.ts';
import type { World } from './world.ts';

/** Between an engine and a client who does not read: windows, buffers, and what a cut-off stream may go on for. */
const onItsWayBytesMax =
  3 * hopWindowBytes +
  clientWindowBytes +
  edgeStreamWindowBytes +
  agentQueuedBytesMax +
  socketBytesMax +
  replayStreamBytesMax / 2;

/** Until the Worker hears that a client left. */
const slackMs = 5_000;

export class Memory {
  readonly #world: World;
  readonly #told = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  look(): void {
    const { clients, platform, schedule } = this.#world;
    this.#lookAtAnswers();
    this.#lookAtWays();
    const there = clients.filter(({ endedMs }) => (endedMs ?? schedule.nowMs) >= schedule.nowMs - slackMs);
    const bytes = there.reduce((sum, client) => sum + client.bodyBytes, 0);
    const { held, kept } = platform.bodyBytesTaken ?? { held: 0, kept: 0 };
    const isWithin = held <= bodyBytesInFlightMaxWorkers && kept <= bodyBytesKeptMaxWorkers;
    if (!isWithin || held + kept > bytes) {
      this.#tell('bodies', `the Worker holds ${held} and keeps ${kept} bytes of bodies that have ${bytes}`);
    }
  }

  /** When every request is over. */
  lookAtEnd(): void {
    const { held, kept } = this.#world.platform.bodyBytesTaken ?? { held: 0, kept: 0 };
    if (held + kept > 0)
      this.#world.violate(`of no request the Worker holds ${held} and keeps ${kept} bytes`);
  }

  #lookAtAnswers(): void {
    for (const { name, status, engines } of this.#world.agents) {
      const { bytes = 0 } = status?.kept ?? {};
      const answers = engines.reduce((sum, { given }) => sum + given, 0);
      if (bytes <= Math.min(replayHostBytesMax, answers * replayStreamBytesMax)) continue;
      this.#tell(name, `${name} keeps ${bytes} bytes of ${answers} answers`);
    }
  }

  /** Of answers that are given from their begin. */
  #lookAtWays(): void {
    const { agents, clients } = this.#world;
    const work = agents.flatMap(({ engines }) => engines.flatMap((engine) => engine.work));
    for (const { requestId, emittedChars, saidBytes } of work) {
      const client = clients.find(({ id }) => id === requestId);
      if (client === undefined || client.outcome !== undefined || emittedChars > 0) continue;
      const bytes = saidBytes - client.readBytes;
      if (bytes > onItsWayBytesMax) this.#tell('ways', `${bytes} bytes are on their way to ${requestId}`);
    }
  }

  /** What is too much stays so for long. */
  #tell(whose: string, what: string): void {
    if (this.#told.has(whose)) return;
    this.#told.add(whose);
    this.#world.violate(what);
  }
}
