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

type Said = { readonly status: number; readonly body?: unknown; readonly route?: string };

/** This host's id. */
const node = 'n-own';
const nodeOf = (id: string, state: string, cordoned = false) => ({
  ...{ node: id, name: id, cordoned },
  replicas: [{ name: 'r0', state, models: [id === node ? 'm' : 'a'] }],
});
type Nodes = readonly ReturnType<typeof nodeOf>[];
const ownReady: Nodes = [nodeOf(node, 'ready')];

/**
 * An edge with a model of another host and one of ours; `say` answers each try, told how many there were before,
 * `nodesAt` each look at the hosts.
 */
const edge = async (
  say: (path: string, before: number) => Said,
  nodesAt: (looks: number) => Nodes = () => ownReady,
): Promise<string> => {
  tried = [];
  let looks = 0;
  const listening = createServer((request, response) => {
    const path = request.url ?? '';
    const told: Readonly<Record<string, () => unknown>> = {
      '/v1/models': () => ({ data: [{ id: 'a' }, { id: 'm' }] }),
      '/admin/nodes': () => ({ regions: [{ region: 'local', nodes: nodesAt(looks++) }], away: [] }),
    };
    const body = told[path]?.();
    const isTry = body === undefined;
    const { status, body: said, route }: Said = isTry ? say(path, tried.length) : { status: 200, body };
    if (isTry) tried.push(path.replace('/v1/', ''));
    request.resume();
    response
      .writeHead(status, { 'content-type': 'application/json', ...(route && { 'x-cognitora-route': route }) })
      .end(JSON.stringify(said ?? {}));
  });
  server = listening;
  await new Promise<void>((accept) => listening.listen(0, '127.0.0.1', accept));
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
};

const newFleet = (progress = new Progress(true)): Fleet => {
  const settings = parseUp(['--data-dir', newDirectory()]);
  if (settings === 'help') throw new Error('help');
  const fleet = new Fleet({ settings, credentials: { adminKey: 'a', fleetSecret: 'f' }, progress });
  fleet.node = node;
  return fleet;
};

/** And what its progress says. */
const tellingFleet = (): { readonly fleet: Fleet; readonly said: readonly string[] } => {
  const said: string[] = [];
  const progress = new Progress(true);
  progress.update = (_, text) => void said.push(text);
  return { fleet: newFleet(progress), said };
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

test('what another host answers is no answer of this one, whose model is tried once it is ready', async () => {
  const other = nodeOf('n-other', 'ready');
  const own = [[], [nodeOf(node, 'loading')], [nodeOf(node, 'loading')], ownReady];
  let looked = 0;
  const url = await edge(
    () => ({ status: looked < own.length ? 500 : 200 }),
    (looks) => {
      looked = looks + 1;
      return [other, ...(own[looks] ?? ownReady)];
    },
  );
  const fleet = newFleet();
  await fleet.untilServed(url, 'key');
  expect([fleet.served?.model, tried]).toEqual(['m', ['chat/completions']]);
});

test('a host that is not linked yet serves nothing', async () => {
  const url = await edge(() => ({ status: 200 }));
  const fleet = newFleet();
  fleet.node = undefined;
  const serving = fleet.untilServed(url, 'key');
  await new Promise((accept) => setTimeout(accept, 300));
  expect(tried).toEqual([]);
  fleet.node = node;
  await serving;
});

test('a cordon of this host is named at once with what lifts it, and with nothing else', async () => {
  const cordoned = [nodeOf('n-other', 'ready'), nodeOf(node, 'ready', true)];
  const url = await edge(
    () => ({ status: 200 }),
    (looks) => (looks < 3 ? cordoned : ownReady),
  );
  const { fleet, said } = tellingFleet();
  await fleet.untilServed(url, 'key', { wordEveryMs: 0 });
  const told = /^this host is cordoned: npm run cgn -- nodes uncordon n-own --data-dir /;
  expect(said.slice(0, 3)).toEqual(Array(3).fill(expect.stringMatching(told)));
  expect(said.slice(3)).toEqual(['m: waiting for the first answer', 'm answers']);
});

test('who waits is told what the edge says', async () => {
  const message = 'No replica can serve "m" now.';
  const route = 'replicas=1; unleased=1';
  const url = await edge((_, before) =>
    before < 2 ? { status: 503, body: { error: { message } }, route } : { status: 200 },
  );
  const { fleet, said } = tellingFleet();
  await fleet.untilServed(url, 'key', { wordEveryMs: 0 });
  expect(said.join('\n')).toMatch(/^m \(\d+ s\): 503 No replica can .* \(replicas=1; unleased=1\)$/m);
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
