/** What the relay is started with, its lines of JSON, and what it and who started it both know. */
import type { DirectionCounts, DirectionShape } from './direction.ts';

/** Of the two ends, in namespaces of their own: no network of the machine is touched. */
export const addresses = ['10.77.0.1', '10.77.0.2'] as const;
/** The same name in both namespaces. */
export const deviceName = 'lossy0';

/** In argv. Both ways are alike, each with chance of its own. */
export interface RelayStart {
  readonly shape: DirectionShape;
  readonly seed: number;
}

export interface RelayCommand {
  /** Undefined: as it is. */
  readonly shape?: DirectionShape;
}

/** The first comes when the link is up, then one for each command. */
export interface RelayAnswer {
  /** File descriptors of the relay that name its two network namespaces. */
  readonly networks: readonly [number, number];
  /** From the first end to the second, and back. */
  readonly counts: readonly [DirectionCounts, DirectionCounts];
}
