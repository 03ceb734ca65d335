/** The store's own lookups, each part in a fresh process: memory, and the disk against raw reads of the same bytes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startWorkerProcess } from '../machine/worker-process.ts';
import { below } from '../report/result.ts';
import { median, rounded, type Summary, summarize } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import type { SsdReads } from './lookups.ts';
import type { LookupAnswer, LookupCommand } from './lookups-worker.ts';
import type { RowResult } from './row.ts';

const ramPlan = { do: 'ram', values: 1_024, others: 131_072, lookups: 100_000 } as const;
const ssdValues = 1_024;
const ssdRounds = 3;
const kept = 1_000;

const ask = async (command: LookupCommand): Promise<LookupAnswer> => {
  const path = join(import.meta.dirname, 'lookups-worker.ts');
  const worker = startWorkerProcess<LookupCommand, LookupAnswer>(path);
  try {
    return await worker.ask(command);
  } finally {
    await worker.stop();
  }
};

const cells = ({ p50, p90, p99, max }: Summary): readonly number[] => [p50, p90, p99, max];

export const ramRow = async (): Promise<RowResult> => {
  const answer = await ask(ramPlan);
  if (!('us' in answer)) throw new Error('an answer of another row');
  const us = summarize(answer.us);
  return {
    figures: { ramLookupUs: us, ramKeys: ramPlan.values + ramPlan.others },
    goals: { ramLookup: below('lookup in memory, in process: p99 < 20 us', us.p99, 20) },
    // Every hundredth: all of them would be megabytes.
    raw: { ramLookupUs: answer.us.filter((_, index) => index % (ramPlan.lookups / kept) === 0).map(rounded) },
    text: table(
      [`${us.count.toLocaleString('en')} lookups of 1 MiB, us`, 'p50', 'p90', 'p99', 'max'],
      [[`${ramPlan.values + ramPlan.others} keys`, ...cells(us)]],
    ),
  };
};

const ssdRound = async (parent: string): Promise<SsdReads> => {
  const directory = mkdtempSync(join(parent, 'bench-kv-ssd-'));
  try {
    const answer = await ask({ do: 'ssd', directory, values: ssdValues });
    if ('us' in answer) throw new Error('an answer of another row');
    return answer;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

export const ssdRow = async (parent: string): Promise<RowResult> => {
  const rounds: SsdReads[] = [];
  while (rounds.length < ssdRounds) rounds.push(await ssdRound(parent));
  const store = summarize(rounds.flatMap(({ storeMs }) => storeMs));
  const raw = summarize(rounds.flatMap(({ rawMs }) => rawMs));
  const ratios = rounds.map(({ storeMs, rawMs }) => {
    const [ours, theirs] = [summarize(storeMs), summarize(rawMs)];
    return { p50: rounded(ours.p50 / theirs.p50), p99: rounded(ours.p99 / theirs.p99) };
  });
  const ratio = { p50: median(ratios.map(({ p50 }) => p50)), p99: median(ratios.map(({ p99 }) => p99)) };
  return {
    figures: {
      ssdStoreMs: store,
      ssdRawMs: raw,
      ssdRatio: ratio,
      ssdRatioRounds: ratios,
      ssdReopenMs: rounds.map(({ reopenMs }) => rounded(reopenMs)),
      ssdIsDirect: rounds.every(({ isDirect }) => isDirect),
    },
    goals: {
      ssdRatio: below('cold 1 MiB through the store: p99 <= 1.5 x a raw read', ratio.p99, 1.5, true),
      ssdRead: below('cold 1 MiB through the store: p50 < 5 ms', store.p50, 5),
    },
    raw: rounds.map(({ storeMs, rawMs }) => ({ storeMs: storeMs.map(rounded), rawMs: rawMs.map(rounded) })),
    text: `${table(
      [`${store.count} cold reads of 1 MiB, ms`, 'p50', 'p90', 'p99', 'max'],
      [
        ['through the store', ...cells(store)],
        ['raw, the same bytes', ...cells(raw)],
        ['ratio, median of rounds', ratio.p50, undefined, ratio.p99, undefined],
      ],
    )}\np99 ratio by round: ${ratios.map(({ p99 }) => p99).join(', ')}`,
  };
};
