import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Of the programs that Pulumi's runner loads: a third of what a short one takes is compiling.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

export default defineConfig({
  test: {
    // Not that of the root's tests, which may run beside these: whoever finds another configuration there empties it.
    fsModuleCachePath: join(import.meta.dirname, 'node_modules/.cache/vitest'),
    include: ['src/**/*.test.ts', 'stacks/**/*.test.ts'],
    // Loading a provider's package takes a second or two on a busy machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
