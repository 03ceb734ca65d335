/**
 * The moves of this host: one hand-over, and the replicas whose engines save slots into a directory of this host. The
 * composition; decides nothing.
 */
import type { MovesStatus } from '@cognitora/protocol/agent-status';
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { OpenRequest } from '@cognitora/protocol/link';
import type { Clock } from '../clock.ts';
import { asker } from '../engines/ask.ts';
import type { Engine } from '../engines/engine.ts';
import type { Log } from '../log.ts';
import type { RequestWatch } from '../serve.ts';
import type { HostBlocks } from '../truth/host-blocks.ts';
import type { PromptWatch, SettledPrompt } from '../truth/served-prompt.ts';
import type { KvHandover } from './handover.ts';
import { MoveFiles } from './move-files.ts';
import { type Mover, ReplicaMoves } from './replica-moves.ts';

/** Computing the probe's prompt on a slow host, or reading a state of many gigabytes. */
const askMsMax = 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

export interface KvMovesOptions {
  readonly handover: KvHandover;
  /** Of each replica whose KV moves: where its engine saves slots. */
  readonly directories: ReadonlyMap<ReplicaName, string>;
  readonly engines: ReadonlyMap<ReplicaName, Engine>;
  /** Where the edge is told from what a host keeps beside its engines. */
  readonly heldOf: (replica: ReplicaName) => HostBlocks;
  readonly clock: Clock;
  readonly log: Log;
}

export class KvMoves {
  readonly #replicas = new Map<ReplicaName, ReplicaMoves>();

  constructor({ handover, directories, engines, heldOf, clock, log }: KvMovesOptions) {
    for (const [name, directory] of directories) {
      const engine = engines.get(name);
      if (engine === undefined) continue;
      const moves = new ReplicaMoves({
        ask: asker(engine, { msMax: askMsMax }),
        files: new MoveFiles(directory),
        handover,
        held: heldOf(name),
        servedName: () => onlyModelOf(engine),
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs(),
        pause,
        log,
        name,
      });
      this.#replicas.set(name, moves);
    }
  }

  changed({ name, report }: Engine): void {
    this.#replicas.get(name)?.changed(report);
  }

  /** How a request is watched, whose prompt is. */
  watch(open: OpenRequest, prompt: PromptWatch): RequestWatch {
    return this.#replicas.get(open.replica)?.watch(open, prompt) ?? prompt;
  }

  settled(replica: ReplicaName, settled: SettledPrompt): void {
    this.#replicas.get(replica)?.settled(settled);
  }

  /** Undefined: the replica's KV does not move. */
  statusOf(replica: ReplicaName): MovesStatus | undefined {
    return this.#replicas.get(replica)?.status;
  }

  /** Those replicas whose KV moves now. */
  get movers(): readonly (Mover & { readonly name: ReplicaName })[] {
    return [...this.#replicas].flatMap(([name, { mover }]) =>
      mover === undefined ? [] : [{ name, ...mover }],
    );
  }

  stop(): void {
    for (const replica of this.#replicas.values()) replica.close();
  }
}

/** Slots do not say which of several models they hold. */
const onlyModelOf = (engine: Engine): string | undefined => {
  const served = new Set(engine.report.models.map(({ id }) => engine.model(id)?.served));
  const [only] = served;
  return served.size === 1 ? only : undefined;
};
