/** The engines of `bench:overload`, in a process of their own: fixed slots, queues without bound, as real ones have. */
import { SlotEngine } from '../../test/fakes/slot-engine.ts';
import { serveCommands } from '../machine/worker-process.ts';

export type EnginesCommand =
  | { readonly kind: 'start'; readonly count: number; readonly slots: number; readonly msOf: EngineMs }
  | { readonly kind: 'look' };

export interface EngineMs {
  readonly prefillMs: number;
  readonly stepMs: number;
}

export interface EnginesAnswer {
  readonly urls: readonly string[];
  /** The most that ever waited in one of them since the last look. */
  readonly waitingMax: number;
  /** Of all of them, now. */
  readonly running: number;
  readonly waiting: number;
}

const engines: SlotEngine[] = [];

serveCommands<EnginesCommand, EnginesAnswer>(async (command) => {
  if (command.kind === 'start') {
    for (let at = 0; at < command.count; at += 1) {
      engines.push(await new SlotEngine({ slots: command.slots, ...command.msOf }).start());
    }
  }
  const waitingMax = Math.max(0, ...engines.map((engine) => engine.waitingMax));
  for (const engine of engines) engine.waitingMax = 0;
  const sum = (of: (engine: SlotEngine) => number): number =>
    engines.reduce((total, one) => total + of(one), 0);
  return {
    urls: engines.map(({ url }) => url),
    waitingMax,
    running: sum(({ running }) => running),
    waiting: sum(({ waiting }) => waiting),
  };
});
