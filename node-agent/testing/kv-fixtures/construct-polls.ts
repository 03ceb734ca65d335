/**
 * Writes `polls.json`: answers to `POST /kv_cache_events` as TensorRT-LLM's `KVCacheEventSerializer` shapes them. Run
 * it by hand; nothing of the agent is imported.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [a, b, c] = [7_812_345_678_901_234_567n, 16_000_000_000_000_000_001n, 42n];
const tokens = (from: number, count: number, extra = 0): object[] =>
  Array.from({ length: count }, (_, at) => ({
    type: 'unique_token',
    token_id: from + at,
    token_extra_id: extra,
  }));
const block = (name: bigint, of: object[], level = 0): object => ({
  ...{ type: 'stored_block', block_hash: name, tokens: of, cache_level: level, priority: 35 },
});
const stored = (blocks: object[], parent: bigint | null = null): object => ({
  ...{ type: 'stored', parent_hash: parent, blocks },
});
const event = (id: number, data: object): object => ({ event_id: id, data, window_size: 4096 });
const moved = (name: bigint, from: number, to: number): object => ({
  type: 'updated',
  block_hash: name,
  cache_level: { type: 'event_diff', new_value: to, old_value: from },
  priority: null,
});

const created = event(0, { type: 'created', num_blocks_per_cache_level: [1024, 512] });
const both = event(1, stored([block(a, tokens(1_000, 32)), block(b, tokens(1_032, 32))]));
const removed = (...names: bigint[]): object => ({ type: 'removed', block_hashes: names });

const cases = {
  stored: [[created, both]],
  'stored in part': [[created, both], [event(2, stored([block(c, tokens(1_064, 7))], b))]],
  removed: [[created, both], [event(2, removed(b))]],
  offloaded: [[created, both], [event(2, moved(b, 0, 1))]],
  'brought back': [[created, both], [event(2, moved(b, 0, 1))], [event(3, moved(b, 1, 0))]],
  gap: [[created, both], [event(5, stored([block(c, tokens(5, 32))]))]],
  restart: [[created, both], [created]],
  'adapter or image': [
    [created, event(1, stored([block(a, tokens(1_000, 32, 9)), block(b, tokens(1_032, 32))]))],
  ],
};

const text = JSON.stringify(
  { source: 'constructed', from: "TensorRT-LLM's tensorrt_llm/_utils.py, KVCacheEventSerializer", cases },
  (_, value: unknown) => (typeof value === 'bigint' ? `#${value}#` : value),
);
writeFileSync(join(import.meta.dirname, 'polls.json'), `${text.replaceAll(/"#(\d+)#"/g, '$1')}\n`);
