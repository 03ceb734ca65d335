import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
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
  const tier = { fetches: 9, hits: 7, unheld: 1, inFlight: 0 };
  const page = metricsText(store, { peers: { tier, peers, refused: { tls: { unknown: 4 }, quic: {} } } });
  expect(page).toContain('cognitora_kv_hits_total{tier="peer"} 7\n');
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
