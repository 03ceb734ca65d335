/** A cluster as a fixture of a `describe` block: up before its tests, down after them, its log shown when one fails. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { type Cluster, type ClusterOptions, startCluster } from './cluster.ts';

export interface ClusterFixture {
  readonly cluster: Cluster;
}

/** `options` is asked once the block begins: engines started in an earlier `beforeAll` have their URLs by then. */
export const useCluster = (options: () => ClusterOptions): ClusterFixture => {
  let running: Cluster | undefined;
  beforeAll(async () => {
    running = await startCluster(options());
  });
  afterEach(({ task }) => {
    if (task.result?.state !== 'fail') return;
    process.stderr.write(`\n--- the cluster's log, for "${task.name}"\n${running?.log.text() ?? ''}\n---\n`);
  });
  afterAll(() => running?.stop());
  return {
    get cluster(): Cluster {
      if (running === undefined) throw new Error('the cluster is not up yet');
      return running;
    },
  };
};
