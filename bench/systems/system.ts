/**
 * What the overhead bench puts between the load generator and the mock engine: one interface, one file per
 * variant.
 */
import type { LoadTarget } from '../load/generator-messages.ts';

export interface RunningSystem {
  readonly target: LoadTarget;
  /** Processes whose CPU is told, by role. */
  readonly pids: Readonly<Partial<Record<'edge' | 'agent', number>>>;
  /** Ends every process of it and removes its files. */
  stop(): Promise<void>;
}

export interface System {
  readonly name: string;
  /** Starts it fresh in front of the engine at this port of 127.0.0.1, and waits until it serves. */
  start(enginePort: number): Promise<RunningSystem>;
}
