/** What the daemon tells Prometheus: of the store per tier, of the peers, of the mirrors. Text only; counts nothing. */
import { MetricsPage } from '@cognitora/protocol/metrics-page';
import type { Mirror } from './faces/directory/mirror.ts';
import type { PeerCounts } from './peer-access.ts';
import type { KvStore } from './store.ts';

type Row = readonly [kind: 'gauge' | 'counter', name: string, help: string, tiers: TierValues];
/** A tier without a value has no such thing. */
type TierValues = {
  readonly ram?: number;
  readonly ssd?: number | undefined;
  readonly peer?: number | undefined;
};

const rowsOf = ({ ram: memory, ssd: disk, counts }: KvStore, hasPeers: boolean): readonly Row[] => {
  const [ram, ssd] = [memory.counts, disk?.counts];
  const ssdOnly = (value: number): TierValues => (ssd === undefined ? {} : { ssd: value });
  const peerOnly = (value: number): TierValues => (hasPeers ? { peer: value } : {});
  return [
    ['gauge', 'values', 'Values held.', { ram: ram.values, ssd: ssd?.values }],
    ['gauge', 'bytes', 'Bytes taken.', { ram: ram.bytes, ssd: ssd?.bytes }],
    ['gauge', 'bytes_max', 'Bytes that may be taken.', { ram: ram.bytesMax, ssd: ssd?.bytesMax }],
    ['gauge', 'pinned_bytes', 'Bytes of values that are never evicted.', { ram: ram.pinnedBytes }],
    ['gauge', 'dirty_bytes', 'Bytes that wait to be written.', { ssd: ssd?.dirtyBytes }],
    [
      'counter',
      'hits_total',
      'Values asked for and given.',
      { ram: counts.ramHits, ...ssdOnly(counts.ssdHits), ...peerOnly(counts.peerHits) },
    ],
    [
      'counter',
      'misses_total',
      'Values asked for that the tier did not give.',
      { ram: counts.ramMisses, ...ssdOnly(counts.ssdMisses), ...peerOnly(counts.peerMisses) },
    ],
    ['counter', 'evictions_total', 'Values that made room.', { ram: ram.evictions, ssd: ssd?.evictions }],
    ['counter', 'puts_total', 'Values stored.', { ram: counts.puts }],
    ['counter', 'refusals_total', 'Values that there was no room for.', { ram: counts.refusals }],
    ['counter', 'written_total', 'Values written.', { ssd: ssd?.written }],
    [
      'counter',
      'skipped_total',
      'Values too large, or too many at once, to be written.',
      { ssd: ssd?.skipped },
    ],
    ['counter', 'unread_total', 'Values here that could not be given.', ssdOnly(counts.ssdUnread)],
    ['counter', 'corrupt_total', 'Values that were not as they were written.', { ssd: ssd?.corrupt }],
    ['counter', 'errors_total', 'Failures of the disk.', { ssd: ssd?.errors }],
  ];
};

const tellTimes = (page: MetricsPage, { times, ssd }: KvStore, hasPeers: boolean): void => {
  const got = 'How long a value took that was asked for and given, by where it was.';
  page.histogram('cognitora_kv_get_seconds', got, { tier: 'ram' }, times.ram.figures);
  if (ssd !== undefined) page.histogram('cognitora_kv_get_seconds', got, { tier: 'ssd' }, times.ssd.figures);
  if (hasPeers) page.histogram('cognitora_kv_get_seconds', got, { tier: 'peer' }, times.peer.figures);
  const put = 'How long a value took to come in, from its room to its last byte.';
  page.histogram('cognitora_kv_put_seconds', put, {}, times.put.figures);
  if (ssd === undefined) return;
  const written = 'How long a batch of values took to be written to the disk.';
  page.histogram('cognitora_kv_disk_write_seconds', written, {}, times.ssdWrite.figures);
};

const tellPeers = (page: MetricsPage, { tier, peers, refused }: PeerCounts): void => {
  page.counter('cognitora_kv_peer_fetches_total', 'Values that a peer was asked for.', {}, tier.fetches);
  page.counter('cognitora_kv_peer_unheld_total', 'Values that no peer was known to hold.', {}, tier.unheld);
  page.gauge('cognitora_kv_peer_in_flight', 'Values on their way here.', {}, tier.inFlight);
  for (const [why, count] of Object.entries(tier.failures)) {
    page.counter('cognitora_kv_peer_fetch_failures_total', 'Values that did not come.', { why }, count);
  }
  for (const { node, transport, bytesIn, bytesOut, fetched, served, failures } of peers) {
    const labels = { node, transport };
    page.counter('cognitora_kv_peer_received_bytes_total', 'Bytes that came from a peer.', labels, bytesIn);
    page.counter('cognitora_kv_peer_sent_bytes_total', 'Bytes that a peer was sent.', labels, bytesOut);
    page.counter('cognitora_kv_peer_fetched_total', 'Values that came whole from a peer.', labels, fetched);
    page.counter('cognitora_kv_peer_served_total', 'Values that a peer was given.', labels, served);
    for (const [why, count] of Object.entries(failures)) {
      page.counter('cognitora_kv_peer_failures_total', 'What failed with a peer.', { ...labels, why }, count);
    }
  }
  for (const [transport, reasons] of Object.entries(refused)) {
    for (const [why, count] of Object.entries(reasons)) {
      page.counter('cognitora_kv_peer_refused_total', 'Who was not let in.', { transport, why }, count);
    }
  }
};

const tellMirror = (page: MetricsPage, { directory, namespace, counts }: MirrorTold): void => {
  const labels = { directory, namespace };
  const cap =
    counts.bytesMax === undefined
      ? {}
      : { bytes_max: ['Bytes that they may have.', counts.bytesMax] as const };
  const gauges = {
    there: ['1 where the directory is there.', counts.isThere ? 1 : 0],
    files: ['Files known.', counts.files],
    bytes: ['Bytes of them.', counts.bytes],
    replica_bytes: ["Bytes of files of other hosts' engines.", counts.replicaBytes],
    ...cap,
    waiting: ['Files seen, and not known to be whole yet.', counts.waiting],
    watches: ['Directories that the kernel tells of.', counts.watches],
  } as const;
  const totals = {
    adopted: ['Files that became values.', counts.adopted],
    adopted_bytes: ['Bytes of them.', counts.adoptedBytes],
    unchanged: ['Files that were values already.', counts.unchanged],
    restored: ['Values that became files.', counts.restored],
    restored_bytes: ['Bytes of them.', counts.restoredBytes],
    replicated: ["Files of other hosts' engines put here unasked.", counts.replicated],
    replicated_bytes: ['Bytes of them.', counts.replicatedBytes],
    present: ['Values that were to become files, and were.', counts.present],
    removed: ['Files removed for the bound of the directory.', counts.removed],
    removed_bytes: ['Bytes of them.', counts.removedBytes],
    removed_unstored: ['Files removed that the store would not take.', counts.removedUnstored],
    watch_failures: ['Directories that the kernel tells nothing of.', counts.watchFailures],
  } as const;
  for (const [name, [help, value]] of Object.entries(gauges)) {
    page.gauge(`cognitora_kv_mirror_${name}`, help, labels, value);
  }
  for (const [name, [help, value]] of Object.entries(totals)) {
    page.counter(`cognitora_kv_mirror_${name}_total`, help, labels, value);
  }
  for (const [why, count] of Object.entries(counts.ignored)) {
    const help = 'What the last scan saw that is none of ours.';
    page.gauge('cognitora_kv_mirror_ignored', help, { ...labels, why }, count);
  }
  for (const [why, count] of Object.entries(counts.failures)) {
    page.counter('cognitora_kv_mirror_failures_total', 'Files not taken or made.', { ...labels, why }, count);
  }
  for (const [why, count] of Object.entries(counts.unreplicated)) {
    const help = 'Files that other hosts told of and that were not put here.';
    page.counter('cognitora_kv_mirror_unreplicated_total', help, { ...labels, why }, count);
  }
};

export interface Told {
  /** Undefined: there are none. */
  readonly peers?: PeerCounts | undefined;
  readonly mirrors?: readonly MirrorTold[];
}
type MirrorTold = Pick<Mirror, 'directory' | 'namespace' | 'counts'>;

export const metricsText = (store: KvStore, { peers, mirrors = [] }: Told = {}): string => {
  const page = new MetricsPage();
  for (const [kind, name, help, tiers] of rowsOf(store, peers !== undefined)) {
    for (const [tier, value] of Object.entries(tiers)) {
      if (value !== undefined) page[kind](`cognitora_kv_${name}`, help, { tier }, value);
    }
  }
  const nowhere = 'Values asked for that no tier gave.';
  page.counter('cognitora_kv_nowhere_total', nowhere, {}, store.counts.misses);
  tellTimes(page, store, peers !== undefined);
  if (peers !== undefined) tellPeers(page, peers);
  for (const mirror of mirrors) tellMirror(page, mirror);
  return page.text;
};
