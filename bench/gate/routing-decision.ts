/**
 * The gate's row for a routing decision: p50 of digest, match, cost, choice and booking of a prompt of 8 k tokens, over
 * 64 replicas that hold a million blocks, in this process. Other sizes, workerd and p99 are `bench:routing`'s.
 */
import type { GateRow } from '../gate.ts';
import { sample } from '../routing/measure.ts';
import { decision } from '../routing/stages.ts';

const limitUs = 500;
const promptTokens = 8192;
const samples = 2000;
const plan = { replicas: 64, blocks: 1_000_000, seed: 1, isScattered: false };

const attempt = async (): Promise<number> => {
  const timed = decision.prepare(plan)('mixed', promptTokens);
  return sample(timed, () => performance.now(), samples).us.p50;
};

export const routingDecision: GateRow = {
  name: 'routing decision',
  goal: `digest, match and cost at 8 k tokens < ${limitUs} us p50`,
  unit: 'us',
  limit: limitUs,
  attempt,
};
