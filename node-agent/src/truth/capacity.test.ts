import { jsonRecordIn } from '@cognitora/protocol/shape';
import { expect, test } from 'vitest';
import type { Ask } from '../engines/ask.ts';
import { capacityTokensDefault, findCapacity } from './capacity.ts';

const engine =
  (pages: Readonly<Record<string, string>>): Ask =>
  async (path) => {
    const text = pages[path];
    if (text === 'hangs up') throw new Error(text);
    return { status: text === undefined ? 404 : 200, text: text ?? '', record: jsonRecordIn(text ?? '') };
  };

const guess = { kind: 'pages', tokens: capacityTokensDefault, isGuess: true };

test.each([
  [
    'slots as properties',
    { '/props': '{"total_slots":4,"default_generation_settings":{"n_ctx":8192}}' },
    { kind: 'slots', slots: 4 },
  ],
  [
    'pages as labels',
    {
      '/metrics': [
        '# TYPE vllm:cache_config_info gauge',
        `vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="2048"} 1.0`,
        '',
      ].join('\n'),
    },
    { kind: 'pages', tokens: 32_768 },
  ],
  [
    'pages by another name',
    { '/metrics': 'sglang:cache_config_info{num_pages="100",page_size="64"} 1.0\n' },
    { kind: 'pages', tokens: 6_400 },
  ],
  ['sequences as a gauge', { '/metrics': 'cognitora_engine_sequences 2\n' }, { kind: 'slots', slots: 2 }],
  [
    'pages that it has not counted',
    { '/metrics': 'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0\n' },
    guess,
  ],
  ['nothing', {}, guess],
  ['nothing that is a number', { '/props': '{"total_slots":"many"}', '/metrics': 'hangs up' }, guess],
])('an engine that tells %s', async (_, pages, expected) => {
  expect(await findCapacity(engine(pages))).toEqual(expected);
});
