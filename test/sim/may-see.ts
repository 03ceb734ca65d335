/**
 * What a client may see of each fault, as a table: an undisturbed request is complete, and what else may become of one
 * stands here. A fault of one host is nobody's excuse while another one serves the model undisturbed. The better the
 * product, the shorter the lists.
 */
import type { FaultKind } from './plan.ts';
import type { Outcome } from './sim-client.ts';

export interface Excuse {
  /** A fault of one host, or of what all share. */
  readonly of: 'host' | 'edge';
  /** What a request may become beside complete, where the fault counts. */
  readonly outcomes: readonly Outcome[];
  /** None where the answer had begun: what makes and keeps it is there, and links are back within `relinkMs`. */
  readonly isOutlived?: boolean;
}

const host = (...outcomes: readonly Outcome[]): Excuse => ({ of: 'host', outcomes });
const edge = (...outcomes: readonly Outcome[]): Excuse => ({ of: 'edge', outcomes });
const outlived = (excuse: Excuse): Excuse => ({ ...excuse, isOutlived: true });

export const maySee: Readonly<Record<FaultKind, Excuse>> = {
  'link cut': outlived(host('told', 'refused')),
  'link cut at the agent': outlived(host('told', 'refused')),
  // Its agent may hear of it only when the lease is over: too late for who waits for the next link.
  'link cut at the edge': host('told', 'refused'),
  'link held': host('told', 'refused'),
  'link overtaken': host('told', 'refused'),
  'agent crash': host('told', 'refused'),
  'agent drain': host('told', 'refused'),
  'agent held up': host('told', 'refused'),
  'engine crash': host('told', 'refused'),
  'engine refuses': host('told', 'refused'),
  'engine breaks off': host('told', 'refused'),
  'engine hangs': host('told', 'refused'),
  'engine slow': host(),
  'node object crash': outlived(host('told', 'refused')),
  'node object evicted': outlived(host('told', 'refused')),
  cordon: host('refused'),
  'clock jump at the agent': host('told', 'refused'),
  'region crash': outlived(edge('told', 'refused')),
  'region evicted': outlived(edge('told', 'refused')),
  'region held up': edge('told', 'refused'),
  'registry crash': edge('refused'),
  'worker crash': edge('broken'),
  'edge crash': edge('told', 'refused', 'broken'),
  'clock jump at the edge': edge('told', 'refused'),
  'slow disk': edge(),
  'calls repeated': edge(),
};

/** For so long after a fault was mended the fleet may still suffer from it. */
export const aftermathMs = 15_000;

/** Whoever waits for a node's next link has it by then. */
export const relinkMs = 2_000;

/** Faults in quick succession are one outage, waited out if it is no longer than this, and links are back behind it. */
export const outageMsMax = 1_000;
