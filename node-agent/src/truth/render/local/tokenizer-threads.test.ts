import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { plainInput } from '../../../engines/chat-input.ts';
import { NoSuchWay, NotAsked } from '../outcome.ts';
import { TokenizerThread, TokenizerThreads } from './tokenizer-threads.ts';

const chatml = join(import.meta.dirname, '../../../../testing/tokenizers/chatml');
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cognitora-tokenizer-'));
  cpSync(chatml, directory, { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const question = (content: string) => ({
  ...{ body: { messages: [{ role: 'user', content }] }, input: plainInput, withTokens: true },
});
const threadOf = (promptMsMax = 20_000, memoryMbMax = 128): TokenizerThread => {
  const thread = new TokenizerThread(directory, { promptMsMax, memoryMbMax });
  onTestFinished(() => thread.close());
  return thread;
};

test('prompts are rendered and tokenised in a thread, one after the other', async () => {
  const thread = threadOf();
  const [one, two] = await Promise.all([thread.ask(question('Hello')), thread.ask(question('Bye'))]);
  expect(one.text).toBe('<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n');
  expect(one.ids).toHaveLength(18);
  expect(one.ends?.at(-1)).toBe(one.text?.length);
  expect(two.text).toContain('Bye');
  expect(await thread.ask({ ...question('Hello'), withTokens: false })).toEqual({
    ...{ kind: 'prompt', text: one.text },
  });
});

const endless = '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}';
const greedy = '{% for a in range(1000000000) %}{% endfor %}';

test.each([
  ['takes forever', endless, 300, 512],
  ['takes all memory', greedy, 30_000, 32],
])('a template that %s costs its thread, and is given up after the third', async (_, template, ms, mb) => {
  writeFileSync(
    join(directory, 'chat_template.jinja'),
    `{% if messages[0].content == 'go' %}${template}{% endif %}said {{ messages[0].content }}`,
  );
  const thread = threadOf(ms, mb);
  await expect(thread.ask(question('go'))).rejects.toThrow(NotAsked);
  // The next one gets a new thread.
  for (let tries = 0; ; tries += 1) {
    const next = await thread.ask(question('Hello')).catch(() => undefined);
    if (next?.text === 'said Hello') break;
    expect(tries).toBeLessThan(1);
  }
  for (let times = 0; times < 2; times += 1) await thread.ask(question('go')).catch(() => {});
  await expect(thread.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
});

test.each<[what: string, spoil: (path: string) => void]>([
  ['there is none', (path) => rmSync(path)],
  ['it is empty', (path) => truncateSync(path, 0)],
  ['it is too long', (path) => truncateSync(path, 65 * 1024 * 1024)],
  ['it is no tokenizer', (path) => writeFileSync(path, '{"model": {"type": "magic"}}')],
])('a tokenizer is of no use when %s', async (_, spoil) => {
  spoil(join(directory, 'tokenizer.json'));
  const thread = threadOf();
  await expect(thread.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
  await expect(thread.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
});

test('a model without a template is of no use', async () => {
  rmSync(join(directory, 'chat_template.jinja'));
  await expect(threadOf().ask(question('Hello'))).rejects.toThrow(/has no chat template/);
});

test('replicas of one model share a thread, which ends with the last of them', async () => {
  const threads = new TokenizerThreads();
  const one = threads.take(directory);
  expect(threads.take(directory)).toBe(one);
  threads.giveBack(directory);
  expect((await one?.ask(question('Hello')))?.text).toContain('Hello');
  threads.giveBack(directory);
  await expect(one?.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
  expect(threads.taken(directory)).toBeUndefined();
});

test('only so many models are rendered at a time', () => {
  const threads = new TokenizerThreads();
  const taken = Array.from({ length: 9 }, (_, at) => threads.take(`${directory}/${at}`));
  expect(taken.map((thread) => thread !== undefined)).toEqual([...Array(8).fill(true), false]);
});
