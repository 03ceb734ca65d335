import { describe, expect, test } from 'vitest';
import { recordedAnswer } from '../testing/recorded-answers.ts';
import { utf8 } from './bytes.ts';
import type { Usage } from './link.ts';
import { JsonResponseReader, SseResponseReader } from './undo.ts';

const options = { renamed: undefined, dropUsage: undefined };

/** The body comes in two pieces, cut at `at`. */
const usageOf = (body: Uint8Array, isStream: boolean, at = 0): Usage | undefined => {
  const reader = isStream ? new SseResponseReader(options) : new JsonResponseReader(options);
  for (const piece of [body.slice(0, at), body.slice(at)]) reader.push(piece);
  reader.end();
  return reader.usage;
};

const counted = (promptTokens: number, cachedTokens?: number) => ({
  promptTokens,
  completionTokens: 8,
  ...(cachedTokens === undefined ? {} : { cachedTokens }),
});

describe('the cached tokens that an engine reports are read from', () => {
  test.each([
    ['llama-server', 'chat', counted(46, 45)],
    ['llama-server', 'chat-stream-usage', counted(46, 45)],
    ['llama-server', 'chat-stream', undefined],
    ['llama-server', 'completion', counted(5, 4)],
    ['llama-server', 'completion-stream', counted(5, 4)],
    ['vllm', 'chat', counted(22, 0)],
    ['vllm', 'chat-stream-usage', counted(22, 0)],
  ])('%s, recorded: %s', (engine, name, usage) => {
    const { body, isStream } = recordedAnswer(engine, name);
    expect(usageOf(body, isStream)).toEqual(usage);
  });

  // Of the documents of the engines; nobody recorded these.
  const usage = { prompt_tokens: 46, completion_tokens: 8 };
  const timings = { cache_n: 45, prompt_n: 1 };
  const details = { prompt_tokens_details: { cached_tokens: 45 } };
  test.each([
    ['its usage', { usage: { ...usage, ...details } }, counted(46, 45)],
    ['its timings, where usage has none', { usage, timings }, counted(46, 45)],
    [
      'its usage rather than its timings',
      { usage: { ...usage, ...details }, timings: { cache_n: 1 } },
      counted(46, 45),
    ],
    [
      'nowhere, where the details are null',
      { usage: { ...usage, prompt_tokens_details: null } },
      counted(46),
    ],
    ['nowhere, where timings are not of this kind', { usage, timings: { cache_n: 'all' } }, counted(46)],
    ['nothing without usage', { timings }, undefined],
  ])('%s, cut anywhere', (_, members, expected) => {
    const text = JSON.stringify({ choices: [], id: 'x', ...members });
    for (let at = 0; at <= text.length; at += 1) {
      expect(usageOf(utf8(text), false, at)).toEqual(expected);
      expect(usageOf(utf8(`data: ${text}\n\ndata: [DONE]\n\n`), true, at)).toEqual(expected);
    }
  });
});
