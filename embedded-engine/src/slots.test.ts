/** Two real programs that share a directory of saved slots: what one computed, the other goes on with. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePorts } from './testing/free-ports.ts';
import { at, type Client, createClient, endPrograms, startProgram, until } from './testing/program.ts';

let directory = '';
let here: Client;
let there: Client;

const start = async (events: number): Promise<Client> => {
  const program = startProgram([
    ...['--model', 'tiny', '--models-dir', directory, '--slot-save-path', directory],
    ...['--sequences', '2', '--context', '1024', '--kv-events', `tcp://127.0.0.1:${events}`],
  ]);
  return createClient((await program.line).url);
};

beforeAll(async () => {
  const [first = 0, second = 0] = await freePorts();
  directory = await mkdtemp(path.join(tmpdir(), 'engine-slots-'));
  here = await start(first);
  there = await start(second);
}, 30_000);

afterAll(async () => {
  await endPrograms();
  await rm(directory, { recursive: true, force: true });
});

const prompt = 'Once upon a time there was a little girl who lived in a small house. '.repeat(12);
const complete = async (client: Client, fields: Record<string, unknown> = {}) => {
  const request = { model: 'tiny', prompt, max_tokens: 8, temperature: 0, ...fields };
  return (await client.post('/v1/completions', request)).body;
};
const slot = (client: Client, id: number, action: string, filename?: string) =>
  client.post(`/slots/${id}?action=${action}`, filename === undefined ? {} : { filename });
const cachedOf = (answer: Awaited<ReturnType<typeof complete>>) =>
  answer.usage.prompt_tokens_details.cached_tokens;

it('restore what another program saved: its tokens count as cached, and the text is the same', async () => {
  const first = await complete(here, { id_slot: 1 });
  const saved = await slot(here, 1, 'save', 'a.bin');
  expect([saved.status, saved.body.n_saved]).toEqual([200, first.usage.total_tokens - 1]);

  const before = await there.metric('kv_events_published_total');
  const restored = await slot(there, 0, 'restore', 'a.bin');
  expect([restored.status, restored.body.n_restored]).toEqual([200, saved.body.n_saved]);
  expect(await there.metric('kv_events_published_total')).toBeGreaterThan(before);
  expect(await there.metric('kv_blocks_in_use')).toBe(Math.floor(saved.body.n_saved / 16));

  const second = await complete(there);
  expect(cachedOf(second)).toBe(first.usage.prompt_tokens - 1);
  expect(at(second.choices).text).toBe(at(first.choices).text);
  expect((await slot(there, 0, 'erase')).body.n_erased).toBe(saved.body.n_saved);
  expect(await there.metric('kv_blocks_in_use')).toBe(0);
  expect(cachedOf(await complete(there))).toBe(0);
});

it('that hold another prompt take the next one while all others generate', async () => {
  const program = startProgram([
    ...['--model', 'tiny', '--models-dir', directory, '--sequences', '4', '--context', '1024'],
  ]);
  const busy = createClient((await program.line).url);
  await complete(busy, { id_slot: 3 });
  const over: string[] = [];
  const long = [0, 1, 2].map((id_slot) =>
    complete(busy, { id_slot, prompt: `Number ${id_slot}.`, max_tokens: 500 }).then(() =>
      over.push('a long one'),
    ),
  );
  await until(async () => (await busy.metric('requests_running')) === 3);
  await complete(busy, { id_slot: 3, prompt: 'Another one.', max_tokens: 1 });
  over.push('the short one');
  await Promise.all(long);
  expect(over[0]).toBe('the short one');
});

it('are listed with what they hold and when they were used', async () => {
  await complete(here, { id_slot: 0 });
  const slots = (await (await fetch(`${here.url}/slots`)).json()) as Record<string, unknown>[];
  expect(slots.map(({ id, is_processing }) => [id, is_processing])).toEqual([
    [0, false],
    [1, false],
  ]);
  expect(Number(slots[0]?.id_task)).toBeGreaterThan(Number(slots[1]?.id_task));
  const properties = (await (await fetch(`${here.url}/props`)).json()) as Record<string, unknown>;
  expect(properties).toMatchObject({ total_slots: 2, model_path: path.join(directory, 'tiny-v1.gguf') });
});

it('refuse what is no state, and serve on with an empty slot', async () => {
  const [saved] = (await readdir(directory)).filter((name) => name === 'a.bin');
  const bytes = await readFile(path.join(directory, saved ?? ''));
  await writeFile(path.join(directory, 'short.bin'), bytes.subarray(0, bytes.length / 2));
  await writeFile(path.join(directory, 'text.bin'), 'no state at all');
  for (const name of ['short.bin', 'text.bin']) {
    expect((await slot(there, 1, 'restore', name)).status).toBe(400);
    expect(cachedOf(await complete(there, { id_slot: 1 }))).toBe(0);
  }
});

it('refuse names that lead elsewhere, slots that are not there, and prompts of a trust domain', async () => {
  await complete(there, { id_slot: 1 });
  const held = await there.metric('kv_blocks_in_use');
  for (const name of ['../a.bin', '/etc/passwd', '.hidden', 'sub/a.bin', '', 'none.bin']) {
    expect((await slot(there, 1, 'restore', name)).status, name).toBe(400);
  }
  expect((await slot(there, 2, 'erase')).status).toBe(400);
  expect((await slot(there, 1, 'copy', 'a.bin')).status).toBe(400);
  expect((await complete(there, { id_slot: 2 })).error.param).toBe('id_slot');
  expect(await there.metric('kv_blocks_in_use')).toBe(held);
  await complete(there, { id_slot: 1, cache_salt: 'of a tenant' });
  expect((await slot(there, 1, 'save', 'salted.bin')).status).toBe(400);
});
