import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { plainInput } from '../../../engines/chat-input.ts';
import { NoSuchWay, NotAsked } from '../outcome.ts';
import { TokenizerProcess, TokenizerProcesses } from './tokenizer-processes.ts';

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
const processOf = (promptMsMax = 20_000, memoryMbMax = 128): TokenizerProcess => {
  const ours = new TokenizerProcess(directory, { promptMsMax, memoryMbMax });
  onTestFinished(() => ours.close());
  return ours;
};

test('prompts are rendered and tokenised in a process, one after the other', async () => {
  const ours = processOf();
  const [one, two] = await Promise.all([ours.ask(question('Hello')), ours.ask(question('Bye'))]);
  expect(one.text).toBe('<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n');
  expect(one.ids).toHaveLength(18);
  expect(one.ends?.at(-1)).toBe(one.text?.length);
  expect(two.text).toContain('Bye');
  expect(await ours.ask({ ...question('Hello'), withTokens: false })).toEqual({
    ...{ kind: 'prompt', text: one.text },
  });
});

const endless = '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}';
const greedy =
  '{% set all = namespace(a=[1]) %}{% for a in range(40) %}{% set all.a = all.a + all.a %}{% endfor %}';
/** A message in which somebody asks for it. */
const writeTemplate = (template: string): void =>
  writeFileSync(
    join(directory, 'chat_template.jinja'),
    `{% if messages[0].content == 'go' %}${template}{% endif %}said {{ messages[0].content }}`,
  );

test.each([
  ['takes forever', endless, 300, 512],
  ['takes all memory', greedy, 30_000, 64],
])('a template that %s costs its process, and is given up after the third', async (_, template, ms, mb) => {
  writeTemplate(template);
  const ours = processOf(ms, mb);
  await expect(ours.ask(question('go'))).rejects.toThrow(NotAsked);
  // The next one gets a new process.
  for (let tries = 0; ; tries += 1) {
    const next = await ours.ask(question('Hello')).catch(() => undefined);
    if (next?.text === 'said Hello') break;
    expect(tries).toBeLessThan(1);
  }
  for (let times = 0; times < 2; times += 1) await ours.ask(question('go')).catch(() => {});
  await expect(ours.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
});

test.each([
  ['idle', ''],
  ['in a template without an end', endless],
])('a process that is %s ends when its agent is gone', async (_, template) => {
  writeTemplate(template);
  const child = fork(new URL('./prompt-process.ts', import.meta.url), [directory, '300'], {
    ...{ execArgv: [], stdio: 'ignore', serialization: 'advanced' },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'message');
  child.send(question('go'));
  if (template === '') await once(child, 'message');
  child.disconnect();
  await once(child, 'exit');
});

test.each<[what: string, spoil: (path: string) => void]>([
  ['there is none', (path) => rmSync(path)],
  ['it is empty', (path) => truncateSync(path, 0)],
  ['it is too long', (path) => truncateSync(path, 65 * 1024 * 1024)],
  ['it is no tokenizer', (path) => writeFileSync(path, '{"model": {"type": "magic"}}')],
])('a tokenizer is of no use when %s', async (_, spoil) => {
  spoil(join(directory, 'tokenizer.json'));
  const ours = processOf();
  await expect(ours.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
  await expect(ours.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
});

test('a model without a template is of no use', async () => {
  rmSync(join(directory, 'chat_template.jinja'));
  await expect(processOf().ask(question('Hello'))).rejects.toThrow(/has no chat template/);
});

test('replicas of one model share a process, which ends with the last of them', async () => {
  const processes = new TokenizerProcesses();
  const one = processes.take(directory);
  expect(processes.take(directory)).toBe(one);
  processes.giveBack(directory);
  expect((await one?.ask(question('Hello')))?.text).toContain('Hello');
  processes.giveBack(directory);
  await expect(one?.ask(question('Hello'))).rejects.toThrow(NoSuchWay);
  expect(processes.taken(directory)).toBeUndefined();
});

test('only so many models are rendered at a time', () => {
  const processes = new TokenizerProcesses();
  const taken = Array.from({ length: 9 }, (_, at) => processes.take(`${directory}/${at}`));
  expect(taken.map((process) => process !== undefined)).toEqual([...Array(8).fill(true), false]);
});
