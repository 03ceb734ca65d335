import { jsonRecordIn } from '@cognitora/protocol/shape';
import { expect, test } from 'vitest';
import type { Ask } from '../engines/ask.ts';
import { isStateOf, type SlotState, Slots, slotForRestore, slotOfAnswer } from './slots.ts';

/**
 * `recorded` 2026-11-26 from llama.cpp's own server (xllamacpp 2026.10.11549, two slots, a 15 M parameter model), after
 * one completion of 482 and 8 tokens in slot 1; left out: what `params` and `default_generation_settings` hold beside
 * what is shown.
 */
const recorded: Readonly<Record<string, readonly [status: number, text: string]>> = {
  '/props': [
    200,
    '{"default_generation_settings":{"params":{"seed":4294967295,"lora":[]},"n_ctx":2048},"total_slots":2,' +
      '"model_alias":"stories","model_ftype":"Q8_0","model_path":"/models/stories-15m.gguf",' +
      '"modalities":{"vision":false,"video":false,"audio":false},"endpoint_slots":true,"endpoint_props":false,' +
      '"build_info":"b0-unknown","is_sleeping":false,"cors_proxy_enabled":false}',
  ],
  '/slots': [
    200,
    '[{"id":0,"n_ctx":2048,"speculative":false,"is_processing":false},{"id":1,"n_ctx":2048,"speculative":false,' +
      '"is_processing":false,"id_task":2,"n_prompt_tokens":489,"n_prompt_tokens_processed":0,' +
      '"n_prompt_tokens_cache":0,"params":{"seed":4294967295},"next_token":[{"has_next_token":false,' +
      '"has_new_line":false,"n_remain":-1,"n_decoded":0}]}]',
  ],
  '/lora-adapters': [200, '[]'],
  '/slots/1?action=save': [
    200,
    '{"id_slot":1,"filename":"x.bin","n_saved":489,"n_written":3012488,"timings":{"save_ms":36.46}}',
  ],
  '/slots/1?action=restore': [
    200,
    '{"id_slot":1,"filename":"x.bin","n_restored":489,"n_read":3012488,"timings":{"restore_ms":1.143}}',
  ],
  '/slots/0?action=restore': [
    400,
    '{"error":{"code":400,"message":"Unable to restore slot: No available space in KV cache or invalid slot save ' +
      'file","type":"invalid_request_error"}}',
  ],
};

const slotsOf = (answers: Readonly<Record<string, readonly [status: number, text: string]>>): Slots => {
  const ask: Ask = async (path) => {
    const [status, text] = answers[path] ?? [404, '{"error":{"code":404,"message":"File Not Found"}}'];
    return { status, text, record: jsonRecordIn(text) };
  };
  return new Slots(ask);
};

test('what llama-server says of its slots is read', async () => {
  const slots = slotsOf(recorded);
  expect(await slots.facts()).toEqual({
    slots: 2,
    contextTokens: 2_048,
    modelPath: '/models/stories-15m.gguf',
    build: 'b0-unknown',
  });
  expect(await slots.list()).toEqual([
    { id: 0, isBusy: false, lastTask: -1, tokens: undefined },
    { id: 1, isBusy: false, lastTask: 2, tokens: 489 },
  ]);
  expect(await slots.hasAdapters()).toBe(false);
  const moved = { tokens: 489, bytes: 3_012_488 };
  expect([await slots.save(1, 'x.bin'), await slots.restore(1, 'x.bin')]).toEqual([moved, moved]);
  expect(await slots.restore(0, 'none.bin')).toBeUndefined();
});

test('what reads otherwise is as good as nothing', async () => {
  const none = slotsOf({});
  expect([await none.facts(), await none.list(), await none.hasAdapters()]).toEqual([undefined, [], false]);
  for (const text of ['', '[1,{"id":-1},{"id":"0"},{}]', '{"id":0}', 'null']) {
    expect(await slotsOf({ '/slots': [200, text] }).list()).toEqual([]);
  }
  for (const text of [
    '[]',
    '{}',
    '{"total_slots":0}',
    '{"total_slots":2,"model_path":"/m","build_info":"b"}',
  ]) {
    expect(await slotsOf({ '/props': [200, text] }).facts()).toBeUndefined();
  }
  for (const text of ['{}', '{"n_saved":0,"n_written":0}', '{"n_saved":1.5,"n_written":9}']) {
    expect(await slotsOf({ '/slots/0?action=save': [200, text] }).save(0, 'x')).toBeUndefined();
  }
  expect(await slotsOf({ '/lora-adapters': [200, '[{"id":0}]'] }).hasAdapters()).toBe(true);
});

const slot = (id: number, lastTask: number, tokens?: number, isBusy = false): SlotState => ({
  id,
  lastTask,
  tokens,
  isBusy,
});

test('a restore takes the free slot that was not used for longest, and none that is promised', () => {
  const slots = [slot(0, 5), slot(1, 3), slot(2, -1, undefined, true), slot(3, 4)];
  expect(slotForRestore(slots, new Set())).toBe(1);
  expect(slotForRestore(slots, new Set([1]))).toBe(3);
  expect(slotForRestore(slots, new Set([0, 1, 3]))).toBeUndefined();
});

test('an answer is in the free slot that holds as many tokens, or was used last where no slot says', () => {
  expect(slotOfAnswer([slot(0, 9, 300), slot(1, 3, 499), slot(2, 4, 499, true)], 500)).toBe(1);
  expect(slotOfAnswer([slot(0, 9, 300), slot(1, 3, 501)], 500)).toBeUndefined();
  expect(slotOfAnswer([slot(0, 2), slot(1, 7), slot(2, 5)], 500)).toBe(1);
  expect([497, 498, 500, 501].map((tokens) => isStateOf(tokens, 500))).toEqual([false, true, true, false]);
});
