/**
 * What a client may see of each fault, as a table: an undisturbed request is complete, and what else may become of one
 * stands here. The better the product, the shorter the lists.
 */
import type { FaultKind } from './plan.ts';
import type { Outcome } from './sim-client.ts';

/** Beside `complete`. */
export const maySee: Readonly<Record<FaultKind, readonly Outcome[]>> = {
  'link cut': ['told', 'refused', 'broken'],
  'link cut at the agent': ['told', 'refused', 'broken'],
  'link cut at the edge': ['told', 'refused', 'broken'],
  'link held': ['told', 'refused', 'broken'],
  'agent crash': ['told', 'refused', 'broken'],
  'agent drain': ['told', 'refused', 'broken'],
  'agent held up': ['told', 'refused', 'broken'],
  'engine crash': ['told', 'refused', 'broken'],
  'engine refuses': ['told', 'refused'],
  'engine breaks off': ['told', 'refused', 'broken'],
  'engine hangs': ['told', 'refused', 'broken'],
  'engine slow': [],
  'region crash': ['told', 'refused', 'broken'],
  'region evicted': ['told', 'refused', 'broken'],
  'region held up': ['told', 'refused', 'broken'],
  'node object crash': ['told', 'refused', 'broken'],
  'node object evicted': ['told', 'refused', 'broken'],
  'registry crash': ['refused'],
  'worker crash': ['broken'],
  'edge crash': ['told', 'refused', 'broken'],
  cordon: ['refused'],
  'clock jump at the edge': ['told', 'refused', 'broken'],
  'clock jump at the agent': ['told', 'refused', 'broken'],
  'slow disk': [],
};

/** For so long after a fault was mended the fleet may still suffer from it. */
export const aftermathMs = 15_000;
