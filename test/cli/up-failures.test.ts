/** What can go wrong with `cgn up`: it says what to do, ends with the right status, and leaves nothing behind. */
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { until } from '../harness/until.ts';
import { argvOf, crash } from '../robustness/processes.ts';
import { PuppetEngine, puppetModel } from '../robustness/puppet-engine.ts';
import {
  cgn,
  cgnJson,
  descendantsOf,
  startUp,
  startUpByHand,
  temporaryDirectory,
  type Up,
} from './run-cgn.ts';

const messages = [{ role: 'user' as const, content: 'Hello' }];

interface Nodes {
  readonly regions: readonly {
    readonly nodes: readonly {
      readonly replicas: readonly { readonly state: string; readonly models: string[] }[];
    }[];
  }[];
}

describe('wrong arguments end at once with status 2 and words', () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['up', '--port', 'eighty'], /--port must be a whole number from 1 to 65535, not "eighty"/],
    [['up', '--port', '0'], /--port must be/],
    [['up', '--port', '65536'], /--port must be/],
    [['up', '--replicas', '0'], /--replicas must be a whole number from 1/],
    [['up', '--replicas', '17'], /--replicas must be/],
    [['up', '--no-such-option'], /--no-such-option.*cgn up --help/s],
    [['up', 'tiny'], /Write it so: cgn up.*cgn up --help/],
    [['up', '--model', import.meta.filename], /up-failures\.test\.ts" is not a GGUF file/],
    [['up', '--engine-url', 'localhost:8000'], /must be a URL such as/],
    [['up', '--engine-url', 'http://127.0.0.1:1', '--model', 'tiny'], /leave --model and --replicas out/],
    [['up', '--model', '/no/such/model.gguf'], /no\/such\/model\.gguf/],
    [['up', '--engine-url', 'http://127.0.0.1:1', '--alias', 'nonsense'], /PUBLIC=SERVED/],
    [['down'], /There is no "cgn down"/],
    [['agent'], /--edge/],
    [['agent', '--edge', 'http://127.0.0.1:1'], /--engine-url/],
    [['keys', 'drop'], /There is no "cgn keys drop"/],
  ];
  test.concurrent.each(cases)('cgn %j', async (argv, words) => {
    const directory = temporaryDirectory();
    const port = argv[0] === 'up' && !argv.includes('--port') ? ['--port', String(await freePort())] : [];
    const { status, out, errors } = await cgn([...argv, ...port, '--data-dir', directory]);
    expect([errors, out]).toEqual([expect.stringMatching(words), '']);
    expect(errors).not.toMatch(/ at .*\.ts:\d+/);
    expect([1, 2]).toContain(status);
    expect(leftoversOf(directory)).toEqual([]);
    rmSync(directory, { recursive: true, force: true });
  });
});

test('a port in use: words, a status, and nothing left, each time', async () => {
  const squatter = createServer();
  const port = await new Promise<number>((accept) => {
    squatter.listen(0, '127.0.0.1', () => accept((squatter.address() as { port: number }).port));
  });
  const directory = temporaryDirectory();
  try {
    for (let round = 0; round < 3; round += 1) {
      const { status, errors } = await cgn(['up', '--json', '--data-dir', directory, '--port', String(port)]);
      expect([status, errors]).toEqual([
        1,
        expect.stringContaining(`port ${port} is in use; choose another with --port`),
      ]);
      expect(leftoversOf(directory)).toEqual([]);
    }
    // Nothing of the failed starts stands in the way of a good one.
    await (await (await startUp(directory)).ready()).down();
  } finally {
    squatter.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

test('an edge that does not answer is named', async () => {
  const directory = temporaryDirectory();
  const environment = { COGNITORA_ADMIN_KEY: 'cga_none' };
  const edge = `http://127.0.0.1:${await freePort()}`;
  for (const command of [['nodes'], ['keys', 'ls']]) {
    const { status, errors } = await cgn([...command, '--edge', edge, '--data-dir', directory], environment);
    expect([status, errors]).toEqual([1, expect.stringContaining(`${edge} does not answer`)]);
  }
  expect((await cgn(['nodes', '--data-dir', directory])).errors).toMatch(/Name the edge.*cgn up/);
  expect((await cgn(['nodes', '--edge', edge, '--data-dir', directory])).errors).toMatch(
    /COGNITORA_ADMIN_KEY/,
  );
  rmSync(directory, { recursive: true, force: true });
});

describe('two replicas', () => {
  const directory = temporaryDirectory();
  let up: Up;
  beforeAll(async () => {
    up = await (await startUp(directory, ['--replicas', '2'])).ready();
  });
  afterAll(() => up.down());
  const states = async (): Promise<string[]> => {
    const { regions } = await cgnJson<Nodes>(['nodes', '--data-dir', directory]);
    return regions.flatMap(({ nodes }) =>
      nodes.flatMap(({ replicas }) => replicas.map(({ state }) => state)),
    );
  };
  const engines = (): number[] =>
    descendantsOf(up.told.pid).filter((pid) => argvOf(pid)[0]?.endsWith('embedded-engine/src/main.ts'));

  test('both serve, and an engine that crashes is started again', async () => {
    await until('two ready replicas', async () => (await states()).join() === 'ready,ready', 20_000);
    const [victim = 0, other] = engines();
    expect(other).toBeDefined();
    await crash(victim);
    // The other one serves meanwhile; a request that met the dead one may be told to try again.
    await until('a completion', () =>
      up
        .sdk()
        .chat.completions.create({ model: 'tiny', messages, max_tokens: 2 })
        .then(
          () => true,
          (thrown: { status?: number }) => {
            expect([502, 503]).toContain(thrown.status);
            return false;
          },
        ),
    );
    await until('a new engine', () => engines().length === 2 && !engines().includes(victim), 15_000);
    await until('two ready replicas', async () => (await states()).join() === 'ready,ready', 20_000);
    expect(descendantsOf(up.told.pid).length).toBeGreaterThanOrEqual(4);
  });
});

test('an engine that nobody runs is named with the reason, and Ctrl-C ends the wait', async () => {
  const directory = temporaryDirectory();
  const engine = `http://127.0.0.1:${await freePort()}`;
  const up = await startUpByHand(directory, ['--engine-url', engine]);
  try {
    const told = `engine    ${engine} does not answer (connection refused); looking again, Ctrl-C stops`;
    await until('the reason', () => up.said.errors.includes(told), 30_000);
    await until('how long it waits', () => up.said.errors.includes(`${told} (10 s)`), 30_000);
  } finally {
    await up.down();
  }
});

test('a second agent in the data directory of the first says so', async () => {
  const directory = temporaryDirectory();
  const up = await (await startUp(directory)).ready();
  try {
    const argv = ['--edge', up.told.url, '--engine-url', up.told.url, '--data-dir', join(directory, 'agent')];
    const { status, errors } = await cgn(['agent', ...argv]);
    expect([status, errors]).toEqual([
      2,
      expect.stringMatching(/Another agent \(pid \d+\) uses .*--data-dir DIR/),
    ]);
  } finally {
    await up.down();
  }
});

test('an edge that does not know the admin key says where that is from', async () => {
  const directory = temporaryDirectory();
  const up = await (await startUp(directory)).ready();
  try {
    const { status, errors } = await cgn(['nodes', '--data-dir', directory], {
      COGNITORA_ADMIN_KEY: 'cga_none',
    });
    expect([status, errors]).toEqual([
      1,
      `The edge at ${up.told.url} does not know the admin key in COGNITORA_ADMIN_KEY. ` +
        'Name its --data-dir, or set COGNITORA_ADMIN_KEY.\n',
    ]);
  } finally {
    await up.down();
  }
});

describe('an engine that runs already', () => {
  const engine = new PuppetEngine();
  const directory = temporaryDirectory();
  let up: Up;
  beforeAll(async () => {
    await engine.start();
    const argv = ['--engine-url', engine.url, '--alias', `fancy=${puppetModel}`];
    up = await (await startUp(directory, argv)).ready();
  });
  afterAll(async () => {
    await up.down();
    await engine.stop();
  });

  test('is attached under its public name, and keeps running afterwards', async () => {
    const { data } = await up.sdk().models.list();
    expect(data.map(({ id }) => id)).toEqual(['fancy']);
    const answer = await up.sdk().chat.completions.create({ model: 'fancy', messages });
    expect(answer.choices[0]?.message.content).toBe('ok');
    await expect(up.sdk().chat.completions.create({ model: puppetModel, messages })).rejects.toMatchObject({
      status: 404,
    });
    expect(
      descendantsOf(up.told.pid).some((pid) => argvOf(pid).some((one) => one.includes('embedded'))),
    ).toBe(false);
    const { out } = await cgn(['nodes', '--data-dir', directory]);
    expect(out).toMatch(/ready +0 .* fancy /);
  });
});
