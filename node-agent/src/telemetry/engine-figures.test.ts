/** Pages are constructed from the engines' documents, unless they say otherwise. */
import { expect, test } from 'vitest';
import type { Metrics } from '../engines/profiles/profile.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { readFigures } from './engine-figures.ts';

const metricsOf = (profile: string): Metrics => {
  const metrics = engineProfiles.get(profile)?.metrics;
  if (metrics === undefined) throw new Error(`${profile} has no metrics`);
  return metrics;
};
const read = (profile: string, ...lines: string[]) => readFigures(lines.join('\n'), metricsOf(profile));

const nothing = {
  ...{ running: undefined, waiting: undefined, kvUsage: undefined },
  counters: {
    ...{ promptTokens: undefined, cachedTokens: undefined },
    ...{ generatedTokens: undefined, preemptions: undefined },
  },
};

test('vLLM: requests of all ranks together, the mean of their KV usage, counters', () => {
  const labels = (engine: number): string => `{engine="${engine}",model_name="m"}`;
  const ranks = [0, 1].flatMap((engine) => [
    `vllm:num_requests_running${labels(engine)} 3.0`,
    `vllm:num_requests_waiting${labels(engine)} 1.0`,
    `vllm:kv_cache_usage_perc${labels(engine)} 0.${engine + 5}`,
    `vllm:prompt_tokens_total${labels(engine)} 100.0`,
    `vllm:prompt_tokens_cached_total${labels(engine)} 40.0`,
    `vllm:generation_tokens_total${labels(engine)} 9.0`,
    `vllm:num_preemptions_total${labels(engine)} 1.0`,
  ]);
  const figures = read('vllm', ...ranks);
  expect(figures).toMatchObject({ running: 6, waiting: 2 });
  expect(figures.kvUsage).toBeCloseTo(0.55);
  expect(figures.counters).toEqual({
    ...{ promptTokens: 200, cachedTokens: 80, generatedTokens: 18, preemptions: 2 },
  });
});

test('older names count where the newer ones are missing', () => {
  const figures = read('vllm', 'vllm:gpu_cache_usage_perc 0.25', 'vllm:prefix_cache_hits_total 7');
  expect([figures.kvUsage, figures.counters.cachedTokens]).toEqual([0.25, 7]);
  expect(read('sglang', 'sglang:num_retracted_reqs 2').counters.preemptions).toBe(2);
});

test('SGLang: cached tokens of all sources together', () => {
  const figures = read(
    'sglang',
    'sglang:num_running_reqs{model_name="m"} 2.0',
    'sglang:num_queue_reqs{model_name="m"} 5.0',
    'sglang:token_usage{model_name="m"} 0.5',
    'sglang:cached_tokens_total{cache_source="device"} 10',
    'sglang:cached_tokens_total{cache_source="host"} 5',
  );
  expect(figures).toMatchObject({ running: 2, waiting: 5, kvUsage: 0.5, counters: { cachedTokens: 15 } });
});

test('llama.cpp: prompts are counted without what was cached, so their tokens are not known', () => {
  const figures = read(
    'llama-cpp',
    'llamacpp:requests_processing 1',
    'llamacpp:requests_deferred 2',
    'llamacpp:prompt_tokens_total 50',
    'llamacpp:tokens_predicted_total 5',
  );
  expect(figures).toEqual({
    ...{ running: 1, waiting: 2, kvUsage: undefined },
    counters: { ...nothing.counters, generatedTokens: 5 },
  });
});

test('llama.cpp of older builds says how much of its cache is used (as in their tools/server/README.md)', () => {
  const page = ['# TYPE llamacpp:kv_cache_usage_ratio gauge', 'llamacpp:kv_cache_usage_ratio 0.5'];
  expect(read('llama-cpp', ...page).kvUsage).toBe(0.5);
});

test('TensorRT-LLM and the embedded engine: a share as it is, or as used of capacity', () => {
  expect(read('trtllm', 'trtllm_kv_cache_utilization 0.75').kvUsage).toBe(0.75);
  const [used, capacity] = ['cognitora_engine_kv_blocks_in_use', 'cognitora_engine_kv_blocks_capacity'];
  expect(read('embedded', `${used} 3`, `${capacity} 12`).kvUsage).toBe(0.25);
  expect(read('embedded', `${used} 3`).kvUsage).toBeUndefined();
  expect(read('embedded', `${used} 0`, `${capacity} 0`).kvUsage).toBeUndefined();
});

test('what a page does not say, or cannot mean, is unknown', () => {
  expect(read('vllm', '<html>', '{"error":1}')).toEqual(nothing);
  const odd = [
    'vllm:num_requests_running -1',
    'vllm:num_requests_waiting 1e300',
    'vllm:kv_cache_usage_perc 42',
    'vllm:generation_tokens_total{engine="0"} 1e308',
    'vllm:generation_tokens_total{engine="1"} 1e308',
    'vllm:num_preemptions_total 1e16',
  ];
  expect(read('vllm', ...odd)).toEqual(nothing);
});
