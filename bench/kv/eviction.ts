/**
 * `npm run bench:kv-eviction`: what share of prompt tokens a store of KV blocks finds, by who goes when it is full.
 *
 *   node bench/kv/eviction.ts [--traces DIR] [--json] [--save]
 *
 * Deterministic.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { beginReport } from '../report/result.ts';
import { rounded } from '../report/statistics.ts';
import { table } from '../report/table.ts';
import { readTrace, type Trace, tokensOfBlocks } from '../sim/trace.ts';
import { caches, type MakeCache } from './caches.ts';

const method =
  'Each trace with sharing is replayed in its order through one store that holds the given share of all ' +
  'its blocks. A request finds its prefix up to the first block that is missing, then all its blocks are ' +
  'touched or stored, the last one first, as an engine that offloads a prompt from its end does. Blocks ' +
  'count as equal. W-TinyLFU: a window of 1 %, exact counts.';

const { values } = parseArgs({
  options: {
    traces: { type: 'string' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});
const directory =
  values.traces ?? process.env.COGNITORA_TRACES ?? join(import.meta.dirname, '../sim/fixtures');
const shares = [0.01, 0.03, 0.1, 0.25, 0.5] as const;
const blocksMin = 64;

const hitRatioOf = ({ requests, blockTokens }: Trace, make: MakeCache, blocksMax: number): number => {
  const cache = make(blocksMax);
  let hit = 0;
  let total = 0;
  for (const request of requests) {
    const { blocks, inputTokens } = request;
    let depth = 0;
    while (depth < blocks.length && cache.has(blocks[depth] ?? -1)) depth += 1;
    hit += tokensOfBlocks(request, depth, blockTokens);
    total += inputTokens;
    for (const block of blocks.toReversed()) {
      if (cache.has(block)) cache.touch(block);
      else cache.insert(block);
    }
  }
  return hit / total;
};

const report = beginReport();
const figures: Record<string, Record<string, readonly number[]>> = {};
for (const file of readdirSync(directory).filter((name) => /\.(jsonl|jsonl\.gz|packed\.txt)$/.test(name))) {
  const trace = readTrace(join(directory, file));
  if (trace.ceiling === 0) continue;
  const unique = new Set(trace.requests.flatMap(({ blocks }) => blocks)).size;
  const sizes = shares.map((share) => Math.max(blocksMin, Math.floor(unique * share)));
  const rows = Object.entries(caches).map(([name, make]) => {
    const ratios = sizes.map((blocks) => rounded(hitRatioOf(trace, make, blocks)));
    figures[trace.name] = { ...figures[trace.name], [name]: ratios };
    return [name, ...ratios];
  });
  process.stdout.write(`\n${trace.name}, ${unique} blocks, ceiling ${trace.ceiling.toFixed(3)}\n`);
  process.stdout.write(`${table(['', ...shares.map((share) => `${100 * share} %`)], rows)}\n`);
}
report({ name: 'kv-eviction', method, figures, goals: {}, raw: shares }, values);
