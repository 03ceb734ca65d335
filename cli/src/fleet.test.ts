/** When a fleet counts as serving, against an edge that answers to order. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { parseUp } from './commands/up.ts';
import { Fleet, lastWords } from './fleet.ts';
import { Progress, UserError } from './terminal.ts';

let server: Server | undefined;
/** Method and path of each request for an answer, in order. */
let tried: string[] = [];

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

type Said = { readonly status: number; readonly body?: unknown };

/** An edge with one model; `say` answers each try, told how many there were before. */
const edge = async (say: (path: string, before: number) => Said): Promise<string> => {
  tried = [];
  const listening = createServer((request, response) => {
    const path = request.url ?? '';
    const isModels = path === '/v1/models';
    const { status, body } = isModels
      ? { status: 200, body: { data: [{ id: 'm' }] } }
      : say(path, tried.length);
    if (!isModels) tried.push(path.replace('/v1/', ''));
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
  });
  server = listening;
  await new Promise<void>((accept) => listening.listen(0, '127.0.0.1', accept));
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
};

const newFleet = (progress = new Progress(true)): Fleet => {
  const settings = parseUp(['--data-dir', newDirectory()]);
  if (settings === 'help') throw new Error('help');
  return new Fleet({
    settings,
    credentials: { adminKey: 'a', fleetSecret: 'f' },
    progress,
  });
};

test('of a stack the line that names the error is told, not its last frames', () => {
  const stack = [
    '    ^',
    '',
    'RangeError: too long',
    '    at one',
    '    at two',
    '',
    'Node.js v24',
    'agent ended: 1',
  ];
  expect(lastWords(stack)).toEqual(['RangeError: too long', 'agent ended: 1']);
  expect(lastWords(['a', 'b', '{"event":"said","message":"c"}', 'd'])).toEqual(['b', 'c', 'd']);
  expect(lastWords(['a', 'b', 'Error: c', 'd'])).toEqual(['b', 'Error: c', 'd']);
});

test.each([
  ['chats', 'chat/completions'],
  ['only completes text', 'completions'],
  ['only embeds', 'embeddings'],
])('a model that %s serves', async (_, able) => {
  const url = await edge((path) => ({ status: path === `/v1/${able}` ? 200 : 400 }));
  const fleet = newFleet();
  await fleet.untilServed(url, 'key');
  expect(fleet.served).toMatchObject({ model: 'm', surface: { path: `/v1/${able}` } });
  expect(tried.at(-1)).toBe(able);
});

test.each([500, 502, 503, 504, 429, 408])(
  'a %i is no answer: it is tried again, the same way',
  async (status) => {
    const url = await edge((_, before) => ({ status: before < 2 ? status : 200 }));
    const fleet = newFleet();
    await fleet.untilServed(url, 'key');
    expect(tried).toEqual(['chat/completions', 'chat/completions', 'chat/completions']);
  },
);

test('refusals are not taken for answers, and do not end the wait at once', async () => {
  const url = await edge((_, before) => ({ status: before < 3 ? 404 : 200 }));
  const fleet = newFleet();
  await fleet.untilServed(url, 'key');
  expect(tried).toEqual(['chat/completions', 'completions', 'embeddings', 'chat/completions']);
  expect(fleet.served?.surface.path).toBe('/v1/chat/completions');
});

test('who waits is told what the edge says, and what lifts a cordon', async () => {
  const message = 'No replica may serve "m": 1 cordoned.';
  const url = await edge((_, before) =>
    before < 2 ? { status: 503, body: { error: { message } } } : { status: 200 },
  );
  const said: string[] = [];
  const progress = new Progress(true);
  progress.update = (_, text) => void said.push(text);
  await newFleet(progress).untilServed(url, 'key', { wordEveryMs: 0 });
  expect(said.join('\n')).toContain(
    `m: 503 ${message}; in another terminal: npm run cgn -- nodes uncordon NODE`,
  );
});

test('a model that goes on refusing everything ends the start in its own words', async () => {
  const url = await edge((path) => ({
    status: path.includes('chat') ? 400 : 501,
    body: { error: { message: path.includes('chat') ? 'no chat template' : 'not this one' } },
  }));
  const fleet = newFleet();
  const failing = fleet.untilServed(url, 'key', { refusalsMsMax: 0 });
  await expect(failing).rejects.toThrow(UserError);
  await expect(failing).rejects.toThrow(
    '"m" refuses chats, completions and embeddings: 400 no chat template',
  );
  expect(fleet.served).toBeUndefined();
});
