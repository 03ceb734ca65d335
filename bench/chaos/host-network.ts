/**
 * A network of a host's own: a namespace for its programs, a link to the edge's side, and a near end that leads on to
 * the host's relay. It can be partitioned: every packet is lost, as when a cable is out, and nobody is told.
 */
import { join } from 'node:path';
import { type LossyLink, openLossyLink, wideArea } from '../lossy-link/link.ts';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import type { NearEndStart } from './near-end.ts';

/** In a namespace of its own every port is free. */
const port = 8080;
const whole = wideArea({ rttMs: 2, lossShare: 0 });
const parted = wideArea({ rttMs: 2, lossShare: 1 });

export class HostNetwork {
  readonly #link: LossyLink;
  readonly #nearEnd: WorkerProcess<NearEndStart, true>;

  private constructor(link: LossyLink) {
    this.#link = link;
    this.#nearEnd = startWorkerProcess(join(import.meta.dirname, 'near-end.ts'), link.ends[0].enter);
  }

  /** Leads to the relay that listens at that path. Throws what the system says where it allows no namespaces. */
  static async open(path: string, seed: number): Promise<HostNetwork> {
    const network = new HostNetwork(await openLossyLink({ shape: whole, seed }));
    await network.#nearEnd.ask({ host: network.#link.ends[0].host, port, path });
    return network;
  }

  /** The edge, as programs inside see it. */
  get url(): string {
    return `http://${this.#link.ends[0].host}:${port}`;
  }

  /** Before a program's own words: runs it inside. */
  get enter(): readonly string[] {
    return this.#link.ends[1].enter;
  }

  part(): Promise<void> {
    return this.#link.change(parted);
  }

  join(): Promise<void> {
    return this.#link.change(whole);
  }

  async stop(): Promise<void> {
    await this.#nearEnd.stop();
    await this.#link.stop();
  }
}
