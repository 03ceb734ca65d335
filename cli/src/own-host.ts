/** This host as its edge knows it: whether it is to get requests, and for which models. Asks the admin API. */
import type { AdminClient } from './admin-client.ts';
import type { NodesAnswer } from './node-report.ts';
import { UserError } from './terminal.ts';

export interface OwnHost {
  readonly isCordoned: boolean;
  /** What its ready replicas serve. */
  readonly models: readonly string[];
}

/** Undefined while its link is not there, or the edge does not answer. */
export const ownHost = async (client: AdminClient, node: string): Promise<OwnHost | undefined> => {
  let answer: NodesAnswer;
  try {
    answer = (await client.call('GET', '/nodes')) as NodesAnswer;
  } catch (thrown) {
    if (thrown instanceof UserError) return undefined;
    throw thrown;
  }
  const own = answer.regions.flatMap(({ nodes }) => nodes).find((each) => each.node === node);
  if (own === undefined) return undefined;
  const ready = own.replicas.filter(({ state }) => state === 'ready');
  return { isCordoned: own.cordoned, models: ready.flatMap(({ models }) => models) };
};
