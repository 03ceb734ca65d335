/** What `cgn kv stat` shows, of the store's own counts. */
import type { KvStat } from '@cognitora/protocol/kv-daemon';
import type { RouteContext } from './routes.ts';

type StatContext = Pick<
  RouteContext,
  'store' | 'leases' | 'namespaces' | 'nowMs' | 'startedAtMs' | 'version'
>;

export const statOf = ({ store, leases, namespaces, nowMs, startedAtMs, version }: StatContext): KvStat => {
  const { counts } = store;
  const ram = store.ram.counts;
  const ssd = store.ssd?.counts;
  return {
    version,
    pid: process.pid,
    uptimeMs: Math.max(0, Math.round(nowMs() - startedAtMs)),
    residentBytes: process.memoryUsage.rss(),
    ram: {
      values: ram.values,
      bytes: ram.bytes,
      bytesMax: ram.bytesMax,
      hits: counts.ramHits,
      evictions: ram.evictions,
      pinnedBytes: ram.pinnedBytes,
      puts: counts.puts,
      refusals: counts.refusals,
    },
    ...(ssd === undefined
      ? {}
      : {
          ssd: {
            values: ssd.values,
            bytes: ssd.bytes,
            bytesMax: ssd.bytesMax,
            hits: counts.ssdHits,
            evictions: ssd.evictions,
            directory: ssd.directory,
            dirtyBytes: ssd.dirtyBytes,
            corrupt: ssd.corrupt,
            errors: ssd.errors,
            unread: counts.ssdMisses,
          },
        }),
    misses: counts.misses,
    leases: leases.count,
    namespaces: namespaces.all,
  };
};
