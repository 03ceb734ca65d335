/** Plans of launches, as tests of profiles and of what launches them need them. Only tests import it. */
import type { LaunchedEngine } from '../src/engines/engine-config.ts';
import type { LaunchPlan } from '../src/engines/profiles/profile.ts';

export const launchedEngine = (more: Partial<LaunchedEngine> = {}): LaunchedEngine => ({
  kind: 'launched',
  command: undefined,
  model: '/models/qwen',
  servedName: undefined,
  gpus: [0],
  tensorParallel: 1,
  arguments: [],
  environment: new Map(),
  secrets: [],
  loadingMsMax: 60_000,
  kvDirectory: undefined,
  ...more,
});

/** The plan of the replica of that number; replicas differ in GPU, ports and directory. */
export const launchPlan = (more: Partial<LaunchPlan> = {}, replica = 0): LaunchPlan => ({
  config: launchedEngine({ gpus: [replica] }),
  role: 'both',
  kvOffload: 'none',
  host: '127.0.0.1',
  ports: { http: 8000 + replica, transfer: 5700 + 10 * replica },
  directory: `/var/lib/cognitora/r${replica}`,
  ...more,
});
