/** The policies that a simulation compares: the production table, and other systems' rules beside it. */
import { type Policy, policies } from '../../edge/src/policy/policy.ts';
import { cacheAware } from './peers/cache-aware.ts';
import { kvCost } from './peers/kv-cost.ts';
import { scorer } from './peers/scorer.ts';

export const simulatedPolicies: readonly Policy[] = [...policies, cacheAware, kvCost, scorer];
