import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Of the programs that tests start, and of vitest's own workers: half of what a short one takes is compiling.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

/** End-to-end tests that wait, or that nothing beside them disturbs: they run side by side, and beside unit tests. */
const patient = [
  'test/robustness/lost-links.test.ts',
  'test/api/held-headers.test.ts',
  'test/cli/up-failures.test.ts',
  'test/cli/keys-and-agents.test.ts',
  'test/api/regions.test.ts',
  'test/routing/lost-edge.test.ts',
  'test/agent/supervised.test.ts',
  'test/agent/hung.test.ts',
  'test/agent/resumed.test.ts',
  'test/agent/load.test.ts',
  'test/agent/configured.test.ts',
  'test/cli/nodes.test.ts',
  'test/cli/up-by-hand.test.ts',
  'test/cli/doctor.test.ts',
  'test/api/engine-errors.test.ts',
  'test/api/client-errors.test.ts',
  'test/api/recorded.test.ts',
  'test/kvcache/daemon.test.ts',
  'test/kvcache/peers.test.ts',
  'test/kvcache/lmcache.test.ts',
  'test/kvcache/redis-clients.test.ts',
  'test/kvcache/commands.test.ts',
  'test/robustness/hostile-agent.test.ts',
  'test/robustness/idle-uploads.test.ts',
  'test/cli/up.test.ts',
  'test/agent/engines.test.ts',
  'test/agent/engine-program.test.ts',
  'test/kvcache/fleet-ca.test.ts',
  'test/kvcache/fabric.test.ts',
  'test/kvcache/mirror.test.ts',
  'test/robustness/failover.test.ts',
  'test/robustness/overload.test.ts',
  'test/robustness/identities.test.ts',
  'test/robustness/full-registry.test.ts',
  'test/api/edits.test.ts',
  'test/api/bytes.test.ts',
  'test/api/sdk.test.ts',
  'test/api/embedded.test.ts',
  'test/kvcache/two-hosts.test.ts',
  'test/release/installer.test.ts',
  'test/release/installed.test.ts',
  'test/release/build.test.ts',
  'test/recipes/up-shims.test.ts',
  'test/recipes/up.test.ts',
  'test/recipes/dry-run.test.ts',
  'test/robustness/hostile-client.test.ts',
  'test/robustness/tls-proxy.test.ts',
  'test/api/large-bodies.test.ts',
  'test/platform/isolate-memory.test.ts',
  'test/platform/limits.test.ts',
];

/** Holds files against files: no process either. */
const recipeTables = 'test/recipes/recipes.test.ts';

/** They replace a module of Node's or a library for all that is loaded beside them: each has a process of its own. */
const replacing = [
  'kvcache/src/peers/fabric.test.ts',
  'kvcache/src/faces/directory/adopt.test.ts',
  'node-agent/src/config/config-file.test.ts',
];

/** Two cores: most of these files wait at any time. Projects of one group must agree. */
const besideEachOther = 6;

/** Minutes of load on two cores, so not in CI: `npm run test:long`. The README says when they last ran. */
const long = [
  'test/robustness/chaos.test.ts',
  'test/robustness/stalled-clients.test.ts',
  'test/robustness/aborts.test.ts',
  'test/agent/busy.test.ts',
  'test/kvcache/crashes.test.ts',
  'test/kvcache/over-capacity.test.ts',
  'test/kvcache/full-disk.test.ts',
  'test/kvcache/lossy-link.test.ts',
  'test/infra/cloud-init.test.ts',
  'test/release/bare-root.test.ts',
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{protocol,edge,node-agent,embedded-engine,kvcache,cli,bench,scripts}/**/*.test.ts',
            // Without processes and ports.
            'test/{sim,simulation,templates}/*.test.ts',
            recipeTables,
          ],
          exclude: ['**/node_modules/**', '**/dist/**', ...replacing],
          // Modules are loaded once a worker and not once a file: a third of the time.
          isolate: false,
          testTimeout: 30_000,
          hookTimeout: 30_000,
          // What is waited for comes, however busy the machine.
          expect: { poll: { timeout: 15_000 } },
          maxWorkers: besideEachOther,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real processes on two cores: one file at a time, after the unit tests.
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts'],
          exclude: [...patient, ...long, 'test/{sim,simulation,templates}/*.test.ts', recipeTables],
          testTimeout: 90_000,
          hookTimeout: 90_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'long',
          include: long,
          testTimeout: 90_000,
          hookTimeout: 90_000,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          name: 'patient',
          include: [...patient, ...replacing],
          testTimeout: 90_000,
          hookTimeout: 90_000,
          maxWorkers: besideEachOther,
          sequence: { groupOrder: 0 },
        },
      },
    ],
  },
});
