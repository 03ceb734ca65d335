import type { KvMirrorStat, KvStat } from '@cognitora/protocol/kv-daemon';
import { expect, test } from 'vitest';
import { statReport } from './kv-report.ts';

const tier = { values: 1, bytes: 10, bytesMax: 20, hits: 4, misses: 3, evictions: 0 };
const stat: KvStat = {
  ...{ version: '1', pid: 2, uptimeMs: 3, residentBytes: 4, leases: 0, namespaces: [], mirrors: [] },
  ram: { ...tier, pinnedBytes: 0, puts: 1, refusals: 0 },
  misses: 1,
};
const mirror: KvMirrorStat = {
  ...{ directory: '/kv', namespace: 'n0123456789abcdef', isThere: true, files: 7, bytes: 10 },
  ...{ waiting: 1, adopted: 6, restored: 5, removed: 2, failures: 9 },
};

test('what peers gave is among what was asked for, and each tier tells its misses', () => {
  const report = statReport({ ...stat, peers: { hits: 2, misses: 1 } }, undefined);
  expect(report).toContain('asked  7, 2 of them had from peers and 1 nowhere\n');
  expect(report).toMatch(/^memory +1 .* 4 +3 +0$/m);
  expect(report).not.toContain('MIRROR');
});

test('a mirror tells its files, its cap, and that its directory is not there', () => {
  const gone = { ...mirror, directory: '/gone', isThere: false, bytesMax: 20 };
  const report = statReport({ ...stat, mirrors: [mirror, gone] }, undefined);
  expect(report).toMatch(/^\/kv +7 +10 B +- +1 +6 +5 +2 +9$/m);
  expect(report).toMatch(/^\/gone \(is not there\) +7 +10 B +20 B +1 /m);
});
