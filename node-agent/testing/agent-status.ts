/** An agent's status as tests need it: linked, one replica ready, unless they say otherwise. Only tests import it. */
import type { ReplicaStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';

export const replicaStatus = (more: Partial<ReplicaStatus> = {}): ReplicaStatus => ({
  name: 'r0' as ReplicaName,
  profile: 'openai',
  role: 'both',
  kvOffload: 'none',
  source: 'attached',
  state: 'ready',
  models: ['m'],
  live: 1,
  requests: 7,
  bodyBytes: 4096,
  errors: { engine_broke_off: 2 },
  answers: { '2xx': 4, '5xx': 1 },
  caches: [{ model: 'm', trust: 'exact' }],
  ...more,
});

export const agentStatus = (more: Partial<StatusAnswer> = {}): StatusAnswer => ({
  agent: 'cognitora-agent/0',
  node: 'n0' as NodeId,
  name: 'rack',
  link: {
    state: 'linked',
    edge: 'https://edge.example',
    region: 'weur',
    epoch: 3,
    sinceMs: 0,
    redials: 2,
  },
  live: 1,
  kept: { bytes: 65_536, detached: 1, resumed: 4, unclaimed: 3 },
  replicas: [replicaStatus()],
  gpus: [],
  process: { pid: 1, uptimeMs: 61_000, residentBytes: 100, heapBytes: 50, logLinesDropped: 5 },
  ...more,
});
