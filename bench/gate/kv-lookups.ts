/**
 * The gate's rows for KV values of 1 MiB: found in memory, read from the disk, fetched from a peer over mutual TLS on
 * loopback. Whatever else the machine does only adds: of a few turns the best one counts. p99, ratios to raw reads,
 * QUIC and lossy paths are `bench:kv`'s.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GateRow } from '../gate.ts';
import { ramLookups, ssdReads } from '../kv/lookups.ts';
import { loopback, measurePair } from '../kv/peer-pair.ts';
import { quantile } from '../report/statistics.ts';

const ramLimitUs = 200;
const ssdLimitMs = 5;
const peerLimitMs = 12;
const turns = 3;
const ramPlan = { values: 64, others: 8_192, lookups: 30_000 };
const ssdValues = 96;
const peerPlan = { warm: 12, single: { fetchesMax: 90, msMax: 6_000 }, parallelMs: 0 };

/** Of equal parts, one after the other in time. */
const best = (values: readonly number[], share: number): number => {
  const each = Math.ceil(values.length / turns);
  const parts = Array.from({ length: turns }, (_, turn) => values.slice(turn * each, (turn + 1) * each));
  return Math.min(...parts.map((part) => quantile(part, share)));
};

export const ramLookup: GateRow = {
  name: 'KV in memory',
  goal: `lookup of 1 MiB < ${ramLimitUs} us p99`,
  unit: 'us',
  limit: ramLimitUs,
  attempt: async () => best(await ramLookups(ramPlan), 0.99),
};

export const ssdRead: GateRow = {
  name: 'KV on the disk',
  goal: `cold read of 1 MiB through the store < ${ssdLimitMs} ms p50`,
  unit: 'ms',
  limit: ssdLimitMs,
  attempt: async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cognitora-gate-kv-'));
    try {
      return best((await ssdReads({ directory, values: ssdValues })).storeMs, 0.5);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

export const peerFetch: GateRow = {
  name: 'KV from a peer',
  goal: `1 MiB over mutual TLS on loopback < ${peerLimitMs} ms p50`,
  unit: 'ms',
  limit: peerLimitMs,
  attempt: async () => best((await measurePair('tls', loopback, peerPlan)).singleMs, 0.5),
};
