/** What `cgn kv stat` shows, of the store's own counts. */
import type { KvMirrorStat, KvStat } from '@cognitora/protocol/kv-daemon';
import type { RouteContext } from './routes.ts';

type StatContext = Omit<RouteContext, 'walks'>;

const mirrorOf = ({
  directory,
  namespace,
  counts,
}: NonNullable<StatContext['mirrors']>[number]): KvMirrorStat => {
  const { isThere, files, bytes, bytesMax, waiting, adopted, unchanged, restored, removed } = counts;
  return {
    directory,
    namespace,
    isThere,
    files,
    bytes,
    ...(bytesMax === undefined ? {} : { bytesMax }),
    waiting,
    adopted: adopted + unchanged,
    restored,
    removed,
    failures: Object.values(counts.failures).reduce((sum, count) => sum + count, 0),
  };
};

export const statOf = (context: StatContext): KvStat => {
  const { store, peers, mirrors = [], leases, namespaces, nowMs, startedAtMs, version } = context;
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
      misses: counts.ramMisses,
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
            misses: counts.ssdMisses,
            evictions: ssd.evictions,
            directory: ssd.directory,
            dirtyBytes: ssd.dirtyBytes,
            corrupt: ssd.corrupt,
            errors: ssd.errors,
            unread: counts.ssdUnread,
          },
        }),
    ...(peers === undefined ? {} : { peers: { hits: counts.peerHits, misses: counts.peerMisses } }),
    misses: counts.misses,
    mirrors: mirrors.map(mirrorOf),
    leases: leases.count,
    namespaces: namespaces.all,
  };
};
