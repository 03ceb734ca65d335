/**
 * How many requests one replica had better have at once, learned from what its agent tells of its engine and from the
 * answers: engines queue without bound, so the edge sends only as many as run and a few that wait there, and keeps the
 * others in its own queue, where they are ordered and may go elsewhere. Pure. Decides nothing.
 *
 *   begins small, twice what was seen to run --told of waiting twice in a row--> full at what ran
 *                                          then grows again by what it holds ahead, as long as nothing waits
 *
 * An engine that tells nothing stays at twice what was seen to run.
 */
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { linksPerObjectMax, streamsPerLinkMax } from '@cognitora/protocol/limits';
import type { LoadReport } from '@cognitora/protocol/telemetry';

/** Of an engine of which nothing is known: the fewest slots that engines usually have. */
const runningAtFirst = 4;
/** So many wait in a full engine, so that it never idles between two requests; of a large batch an eighth. */
const aheadMin = 2;
const aheadShare = 1 / 8;

export class Seats {
  /** Seen to run at once, while nothing waited or once it was full. */
  #running = runningAtFirst;
  /** It was seen full: until then what is ahead doubles it. */
  #isLearned = false;
  #told: LoadReport | undefined;

  told(report: LoadReport): void {
    const { running, waiting } = report;
    if (running === undefined || waiting === undefined) return;
    const before = this.#told;
    this.#told = report;
    if (waiting === 0) {
      this.#running = Math.min(streamsPerLinkMax, Math.max(this.#running, running));
      return;
    }
    // Of one look alone it may be that what just came is taken in a moment.
    if (running === 0 || before?.waiting === undefined || before.waiting === 0) return;
    this.#running = Math.max(running, before.running ?? 0);
    this.#isLearned = true;
  }

  /** So many requests of ours had begun, by an answer: see `ReplicaLoad.begunBy`. */
  saw(begun: number): void {
    // Some engines begin to answer what still waits: of a full one it proves nothing.
    if ((this.#told?.waiting ?? 0) > 0) return;
    this.#running = Math.max(this.#running, begun);
  }

  /** Its engine began anew, and may be another one. */
  beginAnew(): void {
    this.#running = runningAtFirst;
    this.#isLearned = false;
    this.#told = undefined;
  }

  /** Requests that it may have of this edge, at least one. */
  get count(): number {
    const running = this.#running;
    const ahead = this.#isLearned ? Math.max(aheadMin, Math.ceil(aheadShare * running)) : running;
    const { othersRunning = 0, othersWaiting = 0 } = this.#told ?? {};
    return Math.max(1, running + ahead - othersRunning - othersWaiting);
  }
}

/** What was learned outlives a node's link: else all that waits would go to an engine at once when its link is back. */
export class SeatsMemory {
  /** By node and replica; who came last stands last. */
  readonly #kept = new Map<string, Seats>();

  of(node: NodeId, replica: ReplicaName): Seats {
    const name = `${node}/${replica}`;
    const seats = this.#kept.get(name) ?? new Seats();
    this.#kept.delete(name);
    this.#kept.set(name, seats);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= seatsKeptMax) break;
      this.#kept.delete(oldest);
    }
    return seats;
  }
}

/** As many nodes as one object links, with four replicas each. */
const seatsKeptMax = 4 * linksPerObjectMax;
