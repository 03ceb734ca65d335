/**
 * `npm run bench:kv`: how long a value of 1 MiB takes from memory, from the disk, to a local client and from a peer,
 * there over a clean path and over one that delays and loses.
 *
 *   node bench/kv/main.ts [--rows ram,local,ssd,peers,lossy] [--directory DIR] [--json] [--save]
 *
 * `--directory` is on the disk that is meant; a temporary one goes into it. `--save` keeps raw values.
 */
import '../machine/exit-on-signal.ts';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { beginReport } from '../report/result.ts';
import { localRow } from './local.ts';
import { lossyRow } from './lossy.ts';
import { peersRow } from './peers.ts';
import type { RowResult } from './row.ts';
import { ramRow, ssdRow } from './tiers.ts';

const method =
  'Every row runs in fresh processes, one after the other. ram: KvStore.get and release of values of ' +
  '1 MiB by random choice, beside 131,072 values of one page. local: kvcached without a disk, one client ' +
  'on its Unix socket, one GET at a time, the bytes into a buffer that is kept. ssd: 1,024 values are ' +
  'written, the store is closed and opened anew with 96 MiB of memory; each is read once through ' +
  'KvStore.get and once by one pread with O_DIRECT of the same pages of the same file, now one first, now ' +
  'the other, three rounds; ratios within a round, their median is told. peers: two processes with keys ' +
  'and certificates of a fleet, a store in memory each, by the transports and exchanges that daemons use; ' +
  'TLS and QUIC in turn, three rounds; 400 values one after the other (p99 is the median of the rounds), ' +
  'then eight at a time for 2 s, with the CPU of both processes meanwhile. lossy: the same between two ' +
  "network namespaces, over bench/lossy-link's relay (1 Gbit/s, queue of 4 MiB, seeded); values one " +
  'after the other for 5 s, then eight at a time for 3 s and until as many were there whole (others before ' +
  'them had all come); carried: the bytes of packets that arrived meanwhile, with headers and what was ' +
  "sent again. TCP's congestion control is the machine's, and Reno.";

const { values } = parseArgs({
  options: {
    rows: { type: 'string' },
    directory: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});

const rows: Readonly<Record<string, () => Promise<RowResult>>> = {
  ram: ramRow,
  local: localRow,
  ssd: () => ssdRow(values.directory),
  peers: peersRow,
  lossy: lossyRow,
};
const chosen = values.rows?.split(',') ?? Object.keys(rows);
const unknown = chosen.filter((name) => rows[name] === undefined);
if (unknown.length > 0) {
  process.stderr.write(`no row ${unknown.join(', ')}; there are ${Object.keys(rows).join(', ')}\n`);
  process.exit(2);
}

const report = beginReport();
const results: Record<string, RowResult> = {};
for (const name of chosen) {
  const result = await rows[name]?.();
  if (result === undefined) continue;
  results[name] = result;
  process.stdout.write(`${result.text}\n\n`);
}
const all = Object.values(results);
report(
  {
    name: 'kv',
    method,
    figures: Object.assign({}, ...all.map(({ figures }) => figures)),
    goals: Object.assign({}, ...all.map(({ goals }) => goals)),
    raw: Object.fromEntries(Object.entries(results).map(([name, { raw }]) => [name, raw])),
  },
  values,
);
