import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Of the programs that tests start, and of vitest's own workers: half of what a short one takes is compiling.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

/** End-to-end tests that hold figures against each other: nothing runs beside them. */
const undisturbed = [
  'test/robustness/kills.test.ts',
  'test/routing/shared-prefix.test.ts',
  // Their engines compute little, so that what a busy machine adds may outweigh what a cache saves.
  'test/routing/local-tokenizer.test.ts',
  'test/routing/vllm-events.test.ts',
  'test/routing/many-cells.test.ts',
  'test/api/two-replicas.test.ts',
];

/** Without processes and ports. */
const pure = [
  'test/{sim,simulation,templates}/*.test.ts',
  'test/recipes/recipes.test.ts',
  'test/cli/route-help.test.ts',
];

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
            ...pure,
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
        test: {
          name: 'undisturbed',
          include: undisturbed,
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
        // Real processes that wait for each other most of the time: side by side, and beside the unit tests.
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts', ...replacing],
          exclude: [...undisturbed, ...long, ...pure],
          testTimeout: 90_000,
          hookTimeout: 90_000,
          maxWorkers: besideEachOther,
          sequence: { groupOrder: 0 },
        },
      },
    ],
  },
});
