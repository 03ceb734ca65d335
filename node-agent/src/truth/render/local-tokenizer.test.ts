import { join } from 'node:path';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Ask } from '../../engines/ask.ts';
import { plainInput } from '../../engines/chat-input.ts';
import { TokenizerThreads } from './local/tokenizer-threads.ts';
import { localTokenizer } from './local-tokenizer.ts';
import { Disagrees, NoSuchWay, NotAsked } from './outcome.ts';

const chatml = join(import.meta.dirname, '../../../testing/tokenizers/chatml');
const hello = { messages: [{ role: 'user', content: 'Hello' }] };

type Answers = Readonly<Record<string, (body: JsonRecord | undefined) => JsonRecord | number>>;

const wayTo = (answers: Answers, name?: string) => {
  const asked: string[] = [];
  const found: unknown[] = [];
  const ask: Ask = async (path, body) => {
    asked.push(path);
    const answer = answers[path]?.(body) ?? 404;
    if (answer === 0) throw new Error('hung up');
    if (typeof answer === 'number') return { status: answer, text: '', record: undefined };
    return { status: 200, text: '', record: answer };
  };
  const way = localTokenizer({
    ...{
      name,
      input: plainInput,
      environment: { HF_HUB_CACHE: '/nowhere' },
      threads: new TokenizerThreads(),
    },
    onFound: (what) => found.push(what),
  });
  onTestFinished(() => way.close?.());
  return {
    show: () => way.show(ask, 'served', hello),
    render: () => way.render(ask, 'served', hello),
    ...{ asked, found, close: () => way.close?.() },
  };
};

describe('the tokenizer of an engine', () => {
  test('is where the configuration says, and the engine is not asked', async () => {
    const { render, asked, found } = wayTo({}, chatml);
    expect(await render()).toContain('Hello');
    expect([asked, found]).toEqual([[], [{ directory: chatml }]]);
  });

  test.each(['/model_info', '/get_model_info'])('is where the engine says at %s', async (path) => {
    const { render, found } = wayTo({ [path]: () => ({ tokenizer_path: chatml, model_path: '/gone' }) });
    expect(await render()).toContain('Hello');
    expect(found).toEqual([{ directory: chatml }]);
  });

  test('is nowhere when neither says where, which is told', async () => {
    const { render, found } = wayTo({ '/model_info': () => ({ model_path: 'Qwen/Qwen3-8B' }) });
    await expect(render()).rejects.toThrow(NoSuchWay);
    await expect(render()).rejects.toThrow(NoSuchWay);
    expect(found).toEqual([{ sought: ['Qwen/Qwen3-8B'] }]);
  });

  test('is looked for again when the engine did not answer', async () => {
    let isUp = false;
    const { render } = wayTo({ '/model_info': () => (isUp ? { model_path: chatml } : 0) });
    await expect(render()).rejects.toThrow(NotAsked);
    isUp = true;
    expect(await render()).toContain('Hello');
  });

  test('is that of one of its models: another one may have another', async () => {
    const threads = new TokenizerThreads();
    const options = { name: chatml, input: plainInput, environment: {}, threads, onFound: () => {} };
    const way = localTokenizer(options);
    onTestFinished(() => way.close?.());
    const ask: Ask = async () => ({ status: 404, text: '', record: undefined });
    expect(await way.render(ask, 'one', hello)).toContain('Hello');
    await expect(way.render(ask, 'other', hello)).rejects.toThrow(NoSuchWay);
    expect(await way.render(ask, 'one', hello)).toContain('Hello');
  });

  test('is not used once nobody needs it', async () => {
    const { render, close } = wayTo({}, chatml);
    await render();
    close();
    await expect(render()).rejects.toThrow(NoSuchWay);
  });
});

describe('an engine that tokenises prompts', () => {
  test('is asked for the first ones, and agrees', async () => {
    const prompts: unknown[] = [];
    const truth = (await wayTo({}, chatml).show())?.tokens.ids ?? [];
    const tokenize = (body: JsonRecord | undefined) => {
      prompts.push(isRecord(body) && body.prompt);
      return { tokens: truth, count: truth.length };
    };
    const { show } = wayTo({ '/tokenize': tokenize }, chatml);
    for (let times = 0; times < 10; times += 1) expect((await show())?.tokens.ids).toEqual(truth);
    expect(prompts).toHaveLength(8);
    expect(new Set(prompts)).toEqual(new Set(['<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n']));
  });

  test.each([
    ['other numbers', [1, 2, 3]],
    ['none', []],
  ])('and gives %s refutes us', async (_, tokens) => {
    const { show } = wayTo({ '/tokenize': () => ({ tokens }) }, chatml);
    await expect(show()).rejects.toThrow(Disagrees);
    await expect(show()).rejects.toThrow(`/tokenize gives ${tokens.length} tokens where ours are 18`);
  });

  test.each<[how: string, answer: number | JsonRecord, asked: number]>([
    ['has no such route', 404, 1],
    ['refuses', 422, 3],
    ['is busy', 503, 3],
    ['hangs up', 0, 3],
    ['means something else', { count: 3 }, 3],
  ])('but %s tells nothing', async (_, answer, count) => {
    const { show, asked } = wayTo({ '/tokenize': () => answer }, chatml);
    for (let times = 0; times < 3; times += 1) expect((await show())?.tokens.ids).toHaveLength(18);
    expect(asked.length).toBe(count);
  });
});
