/** How long the store's work took, counted where it is done; `/metrics` shows it. */
import { Histogram } from './histogram.ts';

export interface StoreTimes {
  /** Values given, by where they were. In memory one of sixteen is timed; of peers whoever fetches them tells. */
  readonly ram: Histogram;
  readonly ssd: Histogram;
  readonly peer: Histogram;
  /** From the room for a value to its last byte. */
  readonly put: Histogram;
  /** Of one batch of records. */
  readonly ssdWrite: Histogram;
}

export const noTimes = (): StoreTimes => ({
  ram: new Histogram(),
  ssd: new Histogram(),
  peer: new Histogram(),
  put: new Histogram(),
  ssdWrite: new Histogram(),
});
