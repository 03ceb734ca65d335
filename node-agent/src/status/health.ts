/** Whether this host serves, and if not, why: for load balancers, service managers and people. Pure. */
import type { AgentStatus } from '@cognitora/protocol/agent-status';

export interface Health {
  readonly isHealthy: boolean;
  /** One line that names what is waited for. It changes when that does, not with each request. */
  readonly says: string;
}

/** Linked, and some replica is ready. */
export const healthOf = ({ link, replicas }: AgentStatus): Health => {
  if (link.state !== 'linked') {
    const why = link.why === undefined ? '' : ` (${link.why})`;
    return { isHealthy: false, says: `not linked to ${link.edge}: ${link.state}${why}` };
  }
  const ready = replicas.filter(({ state }) => state === 'ready');
  if (ready.length > 0) {
    return { isHealthy: true, says: `${ready.length} of ${replicas.length} replicas ready` };
  }
  const told = replicas.map(
    ({ name, state, why }) => `${name} ${state}${why === undefined ? '' : ` (${why})`}`,
  );
  return { isHealthy: false, says: `no replica is ready: ${told.join('; ') || 'there is none'}` };
};
