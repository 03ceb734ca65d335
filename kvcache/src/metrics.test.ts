import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type MirrorCounts, nothingIgnored, Tally } from './faces/directory/counts.ts';
import { startMirror } from './faces/directory/mirror.ts';
import { metricsText } from './metrics.ts';
import { KvStore } from './store.ts';

test('each tier has its rows, each described once, and times have their buckets', async () => {
  let now = 0;
  const monotonicMs = (): number => {
    now += 3;
    return now;
  };
  const store = await KvStore.open({ ramBytesMax: 2 ** 20, ssd: undefined, nowMs: () => 1, monotonicMs });
  store.reserve('a', 4)?.commit();
  for (let asked = 0; asked < 17; asked += 1) {
    const held = await store.get('a');
    held?.release();
  }
  const page = metricsText(store);
  expect(page).toContain('cognitora_kv_hits_total{tier="ram"} 17\n');
  expect(page).not.toContain('tier="ssd"');
  expect(page.match(/# TYPE cognitora_kv_get_seconds histogram/g)).toHaveLength(1);
  // The first and the seventeenth were timed, with 3 ms each, and stand for sixteen.
  expect(page).toContain('cognitora_kv_get_seconds_count{tier="ram"} 32\n');
  expect(page).toContain('cognitora_kv_get_seconds_sum{tier="ram"} 0.096\n');
  expect(page).toContain('cognitora_kv_get_seconds_bucket{tier="ram",le="0.002048"} 0\n');
  expect(page).toContain('cognitora_kv_get_seconds_bucket{tier="ram",le="0.004096"} 32\n');
  expect(page).toContain('cognitora_kv_put_seconds_count{} 1\n');
});

test('what went between this host and a peer is told by node and transport', async () => {
  const store = await KvStore.open({ ramBytesMax: 2 ** 20, ssd: undefined, nowMs: () => 1 });
  const peer = {
    transport: 'tls',
    bytesIn: 5,
    bytesOut: 6,
    fetched: 1,
    served: 2,
    failures: { late: 3 },
  } as const;
  const peers = [{ ...peer, node: `n${'a'.repeat(26)}` as never }];
  const tier = { fetches: 9, unheld: 1, inFlight: 0, failures: { busy: 8 } };
  const held = () => store.hold('a');
  store.reserve('a', 1)?.commit({ isFetched: true });
  store.peers = { isOutOf: () => false, has: async () => true, fetch: async () => held() };
  await store.get('b');
  const page = metricsText(store, { peers: { tier, peers, refused: { tls: { unknown: 4 }, quic: {} } } });
  expect(page).toContain('cognitora_kv_hits_total{tier="peer"} 1\n');
  expect(page).toContain('cognitora_kv_misses_total{tier="ram"} 1\n');
  expect(page).toContain('cognitora_kv_misses_total{tier="peer"} 0\n');
  expect(page).toContain('cognitora_kv_nowhere_total{} 0\n');
  expect(page).toContain('cognitora_kv_peer_fetch_failures_total{why="busy"} 8\n');
  expect(page.match(/# TYPE cognitora_kv_hits_total/g)).toHaveLength(1);
  const labels = `{node="n${'a'.repeat(26)}",transport="tls"`;
  expect(page).toContain(`cognitora_kv_peer_received_bytes_total${labels}} 5\n`);
  expect(page).toContain(`cognitora_kv_peer_failures_total${labels},why="late"} 3\n`);
  expect(page).toContain('cognitora_kv_peer_refused_total{transport="tls",why="unknown"} 4\n');
  expect(page).toContain('cognitora_kv_get_seconds_count{tier="peer"} 0\n');
});

test('what a mirror took of other hosts, and what not and why, is told by directory', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kv-metrics-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const store = await KvStore.open({ ramBytesMax: 2 ** 20, ssd: undefined, nowMs: () => 1 });
  const mirror = await startMirror({ directory, namespace: 'n1', nowMs: () => 1 }, store);
  onTestFinished(() => mirror.close());
  const { unreplicated } = mirror.counts;
  const counts = {
    ...mirror.counts,
    replicated: 3,
    replicaBytes: 7,
    unreplicated: { ...unreplicated, full: 2 },
  };
  const page = metricsText(store, { mirrors: [{ directory, namespace: 'n1', counts }] });
  const labels = `{directory="${directory}",namespace="n1"`;
  expect(page).toContain(`cognitora_kv_mirror_replicated_total${labels}} 3\n`);
  expect(page).toContain(`cognitora_kv_mirror_replica_bytes${labels}} 7\n`);
  expect(page).toContain(`cognitora_kv_mirror_unreplicated_total${labels},why="full"} 2\n`);
  expect(page).toContain(`cognitora_kv_mirror_unreplicated_total${labels},why="removed"} 0\n`);
});

test('all that a mirror counts is told, its cap only where it has one', async () => {
  const store = await KvStore.open({ ramBytesMax: 2 ** 20, ssd: undefined, nowMs: () => 1 });
  const numbers = Array.from({ length: 15 }, (_, at) => 1_001 + at);
  const [files, bytes, bytesMax, waiting, watches, watchFailures, unchanged, present, removedBytes] = numbers;
  const ignored = { ...nothingIgnored(), many: 1_010 };
  const { totals, failures, unreplicated } = new Tally();
  const known = { files, bytes, waiting, watches, watchFailures } as Record<string, number>;
  const counts = {
    ...totals,
    unreplicated,
    ...known,
    unchanged,
    present,
    removedBytes,
    bytesMax,
    isThere: true,
    ignored,
    failures,
  };
  const mirror = { directory: '/kv', namespace: 'n0123456789abcdef', counts: counts as MirrorCounts };
  const page = metricsText(store, { mirrors: [mirror] });
  const labels = '{directory="/kv",namespace="n0123456789abcdef"';
  const told = (name: string): string | undefined =>
    page.split('\n').find((line) => line.startsWith(`cognitora_kv_mirror_${name}${labels}`));
  expect(told('bytes_max')).toBe(`cognitora_kv_mirror_bytes_max${labels}} 1003`);
  expect(told('watches')).toContain(' 1005');
  expect(told('watch_failures_total')).toContain(' 1006');
  expect(told('unchanged_total')).toContain(' 1007');
  expect(told('present_total')).toContain(' 1008');
  expect(told('removed_bytes_total')).toContain(' 1009');
  expect(page).toContain(`cognitora_kv_mirror_ignored${labels},why="many"} 1010\n`);
  const capless = { ...mirror, counts: { ...mirror.counts, bytesMax: undefined } };
  expect(metricsText(store, { mirrors: [capless] })).not.toContain('mirror_bytes_max');
});
