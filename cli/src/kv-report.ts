/** What kvcached tells of itself, for people. Pure. */
import type { KvKey, KvMirrorStat, KvPeers, KvStat, KvTierStat } from '@cognitora/protocol/kv-daemon';
import { canonicalFields } from '@cognitora/protocol/kv-daemon-bodies';
import { percent } from './figures.ts';
import { shownKey } from './kv-keys.ts';
import { byteSize, relativeTime, table } from './terminal.ts';

export const keysReport = (keys: readonly KvKey[]): string =>
  table(
    ['KEY', 'BYTES', 'TIER', 'PINNED', 'ENDS'],
    keys.map(({ key, bytes, tier, isPinned, ttlMs }) => [
      shownKey(key),
      bytes,
      tier,
      isPinned ? 'pinned' : '-',
      ttlMs === undefined ? '-' : relativeTime(ttlMs, 0),
    ]),
  );

const tierRow = (name: string, { values, bytes, bytesMax, hits, misses, evictions }: KvTierStat) => [
  name,
  values,
  byteSize(bytes),
  byteSize(bytesMax),
  percent(bytesMax === 0 ? undefined : bytes / bytesMax),
  hits,
  misses,
  evictions,
];

const mirrorsLines = (mirrors: readonly KvMirrorStat[]): readonly string[] => {
  if (mirrors.length === 0) return [];
  const rows = mirrors.map(
    ({ directory, isThere, files, bytes, bytesMax, waiting, adopted, restored, removed, failures }) => [
      isThere ? directory : `${directory} (is not there)`,
      files,
      byteSize(bytes),
      bytesMax === undefined ? '-' : byteSize(bytesMax),
      ...[waiting, adopted, restored, removed, failures],
    ],
  );
  const columns = ['FILES', 'BYTES', 'OF', 'WAITING', 'TAKEN', 'RESTORED', 'REMOVED', 'FAILED'];
  return ['', table(['MIRROR', ...columns], rows)];
};

const peersLines = ({ node, hasFabric, peers }: KvPeers): readonly string[] => {
  if (!hasFabric) return [`peers  none known: no agent of this host (${node}) has told of the fleet yet`];
  if (peers.length === 0) return ['peers  none: this host is alone in its fleet'];
  const rows = peers.map(
    ({ name, node: peer, transport, rttMs, bytesPerMs, receivedBytes, sentBytes, why }) => [
      name,
      peer,
      transport ?? '-',
      rttMs === undefined ? '-' : `${rttMs.toFixed(1)} ms`,
      bytesPerMs === undefined ? '-' : `${byteSize(bytesPerMs * 1_000)}/s`,
      byteSize(receivedBytes),
      byteSize(sentBytes),
      why ?? '-',
    ],
  );
  const header = ['PEER', 'NODE', 'BY', 'RTT', 'RATE', 'RECEIVED', 'SENT', 'WHY NOT'];
  return ['', table(header, rows)];
};

/** `peers` is undefined where the daemon has none. */
export const statReport = (stat: KvStat, peers: KvPeers | undefined): string => {
  const { version, pid, uptimeMs, residentBytes, ram, ssd, misses, leases, namespaces } = stat;
  const fromPeers = stat.peers?.hits ?? 0;
  const asked = ram.hits + (ssd?.hits ?? 0) + fromPeers + misses;
  const tiers = [tierRow('memory', ram), ...(ssd === undefined ? [] : [tierRow('disk', ssd)])];
  const disk =
    ssd === undefined
      ? []
      : [
          `disk   ${byteSize(ssd.dirtyBytes)} wait to be written, ${ssd.unread} not given, ` +
            `${ssd.corrupt} damaged, ${ssd.errors} errors`,
        ];
  const shown = namespaces.map(({ namespace, fields }) => `${namespace}  ${canonicalFields(fields)}`);
  const started = relativeTime(0, uptimeMs);
  return [
    `kvcached ${version}, pid ${pid}, started ${started}, ${byteSize(residentBytes)} resident`,
    `asked  ${asked}, ${fromPeers} of them had from peers and ${misses} nowhere`,
    `stored ${ram.puts}, refused for want of room ${ram.refusals}`,
    `memory ${byteSize(ram.pinnedBytes)} pinned, ${leases} places held by other programs`,
    ...disk,
    ...(peers === undefined ? ['peers  none: it was started without'] : peersLines(peers)),
    '',
    table(['TIER', 'VALUES', 'BYTES', 'OF', 'FULL', 'HITS', 'MISSES', 'EVICTED'], tiers),
    ...mirrorsLines(stat.mirrors),
    ...(shown.length === 0 ? [] : ['', 'NAMESPACES', ...shown]),
  ].join('\n');
};
