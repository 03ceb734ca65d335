/** No system at all: the mock engine itself, which every other variant is told against. */
import type { System } from './system.ts';

export const direct: System = {
  name: 'direct',
  start: async (enginePort) => ({
    target: { host: '127.0.0.1', port: enginePort, path: '/%/v1/chat/completions', headers: {} },
    pids: {},
    stop: async () => {},
  }),
};
