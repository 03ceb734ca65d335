import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as moment } from 'node:timers/promises';
import { ackBusyMsMax, modelsPerReplicaMax } from '@cognitora/protocol/limits';
import { encodeJson, parseReplicas } from '@cognitora/protocol/link';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { answerJson, bodyOf, closedPort, deferred, engineAt, serveHttp } from '../../testing/http-engine.ts';
import { type Engine, type EngineOptions, hangMsMax, readBounded } from './engine.ts';
import { timeoutsDefault } from './timeouts.ts';

// Between two looks at an engine lie seconds: they pass as fast as the sockets allow.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const models = (...ids: string[]) => ({
  object: 'list',
  data: ids.map((id) => ({ id, created: 7, owned_by: 'x' })),
});

/** An engine whose answers can be changed while it runs. */
const start = async (more: Partial<EngineOptions> = {}, suffix = '') => {
  const server = {
    list: models('m') as unknown,
    /** The list word for word, where set. */
    raw: undefined as string | undefined,
    status: 200,
    /** In its header, where set. */
    retryAfter: undefined as string | undefined,
    healthStatus: 200,
    isHealthLate: false,
    isListLate: false,
    probes: 0,
    probeStatus: 200,
    paths: [] as string[],
    /** The models of the probes, and how many of those ran at once at most. */
    probed: [] as string[],
    concurrent: 0,
    concurrentMax: 0,
    /** Probes wait for it. */
    held: Promise.resolve(),
    /** A model that completes nothing. */
    stuck: undefined as string | undefined,
    /** A model whose probes are answered by 503. */
    absent: undefined as string | undefined,
  };
  const states: string[] = [];
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    server.paths.push(request.url ?? '');
    if (request.url?.endsWith('/health') && server.isHealthLate) return;
    if (request.url?.endsWith('/health')) return answerJson(response, {}, server.healthStatus);
    if (request.method === 'GET' && server.isListLate) return;
    if (request.method === 'GET' && server.raw !== undefined) return void response.end(server.raw);
    if (server.retryAfter !== undefined) response.setHeader('retry-after', server.retryAfter);
    if (request.method === 'GET') return answerJson(response, server.list, server.status);
    server.probes += 1;
    server.concurrent += 1;
    server.concurrentMax = Math.max(server.concurrentMax, server.concurrent);
    const { model } = JSON.parse(await bodyOf(request));
    server.probed.push(model);
    if (model === server.stuck) return;
    if (model === server.absent) return answerJson(response, {}, 503);
    await server.held;
    server.concurrent -= 1;
    answerJson(response, {}, server.probeStatus);
  };
  const sockets = new Set<Socket>();
  const url = await serveHttp((request, response) => {
    sockets.add(request.socket);
    return listener(request, response);
  });
  /** What a process does to its connections when it is killed. */
  const hangUp = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const engine: Engine = engineAt(new URL(url.href + suffix), {
    ...more,
    onChange: () => states.push(engine.report.state),
  });
  engine.start();
  return { engine, server, states, hangUp };
};

/** Lets looks happen until it is so. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) {
    await vi.advanceTimersByTimeAsync(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
};

/** One by one, so that whoever looks gets answers meanwhile. */
const passSeconds = async (count: number): Promise<void> => {
  for (let passed = 0; passed < count; passed += 1) {
    await vi.advanceTimersByTimeAsync(1_000);
    for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  }
};

const ids = (engine: Engine): string[] => engine.report.models.map(({ id }) => id);

test('a role is told to the edge, and none where the replica does all', async () => {
  const { engine: prefill } = await start({ role: 'prefill' });
  const { engine: both } = await start({ role: 'both' });
  const told = parseReplicas(encodeJson({ replicas: [prefill.report] }));
  expect([told[0]?.role, 'role' in both.report]).toEqual(['prefill', false]);
});

test('a time of its own for an ACK is told to the edge, and none where it is the usual one', async () => {
  const { engine: patient } = await start({ timeouts: { ...timeoutsDefault, ackMsMax: ackBusyMsMax } });
  const { engine: usual } = await start({ timeouts: timeoutsDefault });
  const told = parseReplicas(encodeJson({ replicas: [patient.report] }));
  expect([told[0]?.ackMs, 'ackMs' in usual.report]).toEqual([ackBusyMsMax, false]);
});

test('of a list that shows more than is to be served only that is offered, and waited for', async () => {
  const { engine, server } = await start({ offers: (served) => served === 'ours' });
  await until(() => engine.trouble !== undefined);
  expect([engine.trouble, engine.report.state]).toEqual([
    'its list of 1 does not have the configured model',
    'loading',
  ]);
  server.list = models('m', 'ours');
  await until(() => engine.report.state === 'ready');
  expect([ids(engine), server.probed]).toEqual([['ours'], ['ours', 'ours']]);
});

test('an engine is loading until it lists its models and takes a completion', async () => {
  const { engine, server, states } = await start();
  server.status = 503;
  expect(engine.report).toEqual({ name: 'r0', state: 'loading', models: [] });
  await until(() => server.paths.length > 2);
  expect(engine.report.state).toBe('loading');
  server.status = 200;
  server.probeStatus = 503;
  await until(() => server.probes > 1);
  expect(states).toEqual([]);
  server.probeStatus = 200;
  await until(() => states.length > 0);
  expect(engine.report).toEqual({
    name: 'r0',
    state: 'ready',
    models: [{ id: 'm', createdSeconds: 7, ownedBy: 'x' }],
  });
});

test('where a path tells of health, an engine that lists its models already waits for that too', async () => {
  const { engine, server, states } = await start({ healthPath: '/health' }, 'proxy/');
  server.healthStatus = 503;
  await until(() => server.paths.length > 2);
  expect(server.paths.every((path) => path === '/proxy/health')).toBe(true);
  expect(engine.report.state).toBe('loading');
  server.healthStatus = 200;
  await until(() => states.length > 0);
  expect(states).toEqual(['ready']);
});

test('one that serves is asked for its health now and then: a list is answered without a core too', async () => {
  const { engine, server, states } = await start({ healthPath: '/health' });
  const asked = (path: string) => server.paths.filter((each) => each === path).length;
  await until(() => states.length > 0);
  await until(() => asked('/health') > 5);
  expect(asked('/v1/models')).toBeGreaterThan(3 * asked('/health'));
  server.healthStatus = 503;
  await until(() => states.at(-1) === 'failed');
  expect(engine.trouble).toBe('GET /health answered 503');
  expect(states).toEqual(['ready', 'failed']);
});

/** Sweeps of an engine, each a second after the one before. */
const sweeping = (engine: Engine, isExcused: () => boolean = () => false) => {
  let nowMs = 0;
  return (ms: number): void => {
    for (const endMs = nowMs + ms; nowMs < endMs; ) {
      nowMs += 1_000;
      engine.sweep(nowMs, isExcused);
    }
  };
};

describe('an engine that was ready and answers no look', () => {
  const silent = async (more: Partial<EngineOptions> = {}) => {
    const onHang = vi.fn();
    const log = vi.fn();
    const started = await start({ onHang, log, ...more });
    const { engine, server, states } = started;
    await until(() => states.at(-1) === 'ready');
    server.status = 500;
    await until(() => states.at(-1) === 'failed');
    engine.sweep(0, () => false);
    return { ...started, onHang, log };
  };

  test('hangs once its time is up, which is told once, and again when it had come back', async () => {
    const { engine, server, states, onHang, log } = await silent();
    const sweep = sweeping(engine);
    sweep(hangMsMax);
    expect(onHang).not.toHaveBeenCalled();
    sweep(1_000);
    const why = `hung: no look was answered and no byte of an answer came for ${hangMsMax / 1_000 + 1} s`;
    expect([onHang.mock.calls, engine.trouble]).toEqual([[[why]], why]);
    sweep(2 * hangMsMax);
    const looks = server.paths.length;
    await until(() => server.paths.length > looks + 2);
    expect([onHang.mock.calls.length, engine.trouble]).toEqual([1, why]);
    expect(log.mock.calls.filter(([, event]) => event === 'engine hangs')).toHaveLength(1);
    server.status = 200;
    await until(() => states.at(-1) === 'ready');
    expect(engine.trouble).toBeUndefined();
    server.status = 500;
    await until(() => states.at(-1) === 'failed');
    sweep(hangMsMax + 2_000);
    expect(onHang).toHaveBeenCalledTimes(2);
  });

  test('does not hang while its answers may be silent for longer', async () => {
    const interTokenMsMax = 3 * hangMsMax;
    const { engine, onHang } = await silent({ timeouts: { ...timeoutsDefault, interTokenMsMax } });
    const sweep = sweeping(engine);
    sweep(interTokenMsMax);
    expect(onHang).not.toHaveBeenCalled();
    sweep(1_000);
    expect(onHang).toHaveBeenCalledTimes(1);
  });

  test('is busy while bytes of an answer come', async () => {
    const { engine, onHang } = await silent();
    const sweep = sweeping(engine);
    for (let times = 0; times < 5; times += 1) {
      sweep(hangMsMax - 1_000);
      engine.heard();
    }
    expect(onHang).not.toHaveBeenCalled();
  });

  test('is let be while a request waits for its first token', async () => {
    const { engine, onHang } = await silent();
    let isExcused = true;
    const sweep = sweeping(engine, () => isExcused);
    sweep(4 * hangMsMax);
    expect(onHang).not.toHaveBeenCalled();
    isExcused = false;
    sweep(1_000);
    expect(onHang).toHaveBeenCalledTimes(1);
  });

  test('lives when it refuses us', async () => {
    const { engine, server, onHang } = await silent();
    server.status = 401;
    const sweep = sweeping(engine);
    for (let times = 0; times < 3; times += 1) {
      const looks = server.paths.length;
      await until(() => server.paths.length > looks + 1);
      sweep(hangMsMax);
    }
    expect(onHang).not.toHaveBeenCalled();
  });

  test('is no business of ours once it has ended, and nobody hangs who never was ready', async () => {
    const { engine, onHang } = await silent();
    engine.end('ended with status 1');
    sweeping(engine)(4 * hangMsMax);
    engine.start();
    sweeping(engine)(4 * hangMsMax);
    expect(onHang).not.toHaveBeenCalled();
  });
});

/** The runtime's own clock of signals, as fast as the others. */
const hastenSignals = (): void => {
  const spy = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException('late', 'TimeoutError')), ms);
    return controller.signal;
  });
  onTestFinished(() => spy.mockRestore());
};

describe('one model that does not complete', () => {
  test.each(['stuck', 'absent'] as const)('keeps the others from nothing: %s', async (how) => {
    const { engine, server, states } = await start();
    server.list = models('bad', 'm', 'n');
    server[how] = 'bad';
    await until(() => states.length > 0);
    expect([states, ids(engine)]).toEqual([['ready'], ['bad', 'm', 'n']]);
    const probed = ['bad', 'm', 'n'].map((name) => engine.model(name)?.volunteered?.size);
    expect(probed).toEqual([undefined, 2, 2]);
  });

  test('is no silence of an engine that comes back', async () => {
    const onHang = vi.fn();
    const { engine, server, states } = await start({ onHang });
    await until(() => states.at(-1) === 'ready');
    server.status = 500;
    await until(() => states.at(-1) === 'failed');
    server.stuck = 'm';
    server.status = 200;
    const sweep = sweeping(engine);
    for (let swept = 0; swept <= 2 * hangMsMax; swept += 1_000) {
      await vi.advanceTimersByTimeAsync(1_000);
      await moment(1);
      sweep(1_000);
    }
    expect(onHang).not.toHaveBeenCalled();
  });

  test('is probed beside the looks where it came to one that serves', async () => {
    const { engine, server, states } = await start();
    await until(() => states.at(-1) === 'ready');
    server.stuck = 'bad';
    server.list = models('m', 'bad');
    await until(() => server.probed.includes('bad'));
    const looks = server.paths.length;
    await until(() => server.paths.length > looks + 3);
    expect([engine.report.state, server.probed.filter((name) => name === 'bad').length]).toEqual([
      'ready',
      1,
    ]);
  });
});

test('an engine that lists its models and is late with its health for long hangs, and stays failed', async () => {
  hastenSignals();
  const onHang = vi.fn();
  const { engine, server, states } = await start({ healthPath: '/health', onHang });
  await until(() => states.at(-1) === 'ready');
  server.isHealthLate = true;
  let nowMs = 0;
  while (onHang.mock.calls.length === 0) {
    const looks = server.paths.length;
    await until(() => server.paths.length > looks);
    nowMs += 2_000;
    engine.sweep(nowMs, () => false);
  }
  expect(states).toEqual(['ready', 'failed']);
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 3);
  expect(states).toEqual(['ready', 'failed']);
  server.isHealthLate = false;
  await until(() => states.at(-1) === 'ready');
});

describe('an engine that is late with its list', () => {
  /** Two looks were late, and a third is on its way. */
  const late = async () => {
    hastenSignals();
    const started = await start();
    const { engine, server, states } = started;
    await until(() => states.at(-1) === 'ready');
    server.isListLate = true;
    const looks = server.paths.length;
    engine.sweep(0, () => false);
    await until(() => server.paths.length > looks + 2);
    return started;
  };

  test('and hung serves on once bytes of an answer come, though a look of that time is never answered', async () => {
    const { engine, server, states } = await late();
    sweeping(engine)(11_000);
    engine.heard();
    server.isListLate = false;
    const looks = server.paths.length;
    await until(() => server.paths.length > looks + 1);
    expect(states).toEqual(['ready']);
  });

  test('all the while that it sends bytes of answers counts as gone', async () => {
    const { engine, states } = await late();
    const sweep = sweeping(engine);
    for (let times = 0; times < 5; times += 1) {
      sweep(2_000);
      engine.heard();
    }
    await until(() => states.length > 1);
    expect(states).toEqual(['ready', 'failed']);
  });
});

test('an engine that stops answering has failed, and is ready again once it answers, probed anew', async () => {
  const log = vi.fn();
  const { server, states } = await start({ log });
  await until(() => states.at(-1) === 'ready');
  const { probes } = server;
  server.status = 500;
  await until(() => states.at(-1) === 'failed');
  expect(log.mock.calls.filter(([level]) => level === 'warn')).toHaveLength(1);
  server.status = 200;
  await until(() => states.at(-1) === 'ready');
  expect(states).toEqual(['ready', 'failed', 'ready']);
  expect(server.probes).toBe(2 * probes);
});

test('of one that failed the edge is told why, in print and bounded, and again when that changes', async () => {
  const { engine, server, states } = await start();
  await until(() => states.at(-1) === 'ready');
  expect('why' in engine.report).toBe(false);
  server.status = 500;
  await until(() => states.at(-1) === 'failed');
  expect(engine.report.why).toBe('GET /v1/models answered 500');
  const told = states.length;
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 2);
  expect(states).toHaveLength(told);
  engine.end(`ended, last words: \u001b[2J${'x'.repeat(500)}\ud800`);
  expect(states).toHaveLength(told + 1);
  expect(engine.report.why).toMatch(/^ended, last words: \\u001b\[2Jx+$/);
  expect(parseReplicas(encodeJson({ replicas: [engine.report] }))).toEqual([engine.report]);
});

test('an engine whose connections end is looked at then, not when its time comes', async () => {
  const { server, states, hangUp } = await start();
  await until(() => states.at(-1) === 'ready');
  await vi.advanceTimersByTimeAsync(300);
  server.status = 503;
  const looks = server.paths.length;
  hangUp();
  // No timer runs out.
  while (states.at(-1) === 'ready') await new Promise((resolve) => setImmediate(resolve));
  expect([states, server.paths.length]).toEqual([['ready', 'failed'], looks + 1]);
});

test('one that ends the connection of each look is not looked at without end, which is told once', async () => {
  const log = vi.fn();
  const { server, states, hangUp } = await start({ log });
  await until(() => states.at(-1) === 'ready');
  const looks = () => server.paths.filter((path) => path === '/v1/models').length;
  /** Looks while so much time passes in which each connection is ended as soon as it rests. */
  const looksIn = async (ms: number): Promise<number> => {
    const before = looks();
    for (let passed = 0; passed < ms; passed += 50) {
      hangUp();
      await moment(1);
      await vi.advanceTimersByTimeAsync(50);
      await moment(1);
    }
    return looks() - before;
  };
  expect(await looksIn(1_000)).toBeLessThanOrEqual(4);
  expect(await looksIn(10_000)).toBeLessThanOrEqual(6);
  expect(states).toEqual(['ready']);
  expect(log.mock.calls.filter(([, event]) => event === 'engine ends kept connections')).toHaveLength(1);
});

test('an engine that never was ready is told of with its reason, once for each', async () => {
  const log = vi.fn();
  const { server, states } = await start({ log });
  server.status = 401;
  const told = () => log.mock.calls.filter(([level]) => level === 'warn').map(([, , { why }]) => why);
  await until(() => server.paths.length > 3);
  expect(told()).toEqual(['GET /v1/models answered 401']);
  // Nothing that passes by itself; what follows does.
  expect(states).toEqual(['failed']);
  server.status = 200;
  server.probeStatus = 503;
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 4);
  expect(told()).toEqual(['GET /v1/models answered 401', 'the engine is still loading its model']);
  expect(states).toEqual(['failed', 'loading']);
  server.probeStatus = 200;
  await until(() => states.at(-1) === 'ready');
  server.probeStatus = 503;
  server.status = 401;
  await until(() => states.at(-1) === 'failed');
  expect(told()).toHaveLength(3);
});

test('an engine that nobody listens for is told of with what the system says', async () => {
  const log = vi.fn();
  const url = await closedPort();
  const engine = engineAt(url, { log });
  engine.start();
  await until(() => log.mock.calls.length > 0);
  expect(log.mock.calls[0]).toEqual([
    'warn',
    'engine cannot serve',
    { engine: 'r0', why: expect.stringContaining('ECONNREFUSED') },
  ]);
  expect(engine.report.state).toBe('failed');
  // A name with several addresses gives an error without words.
  const named = vi.fn();
  engineAt(new URL(`http://localhost:${url.port}`), { log: named }).start();
  await until(() => named.mock.calls.length > 0);
  expect(named.mock.calls[0]?.[2].why).toContain('ECONNREFUSED');
});

test('an engine that we start loads while its port is closed; one that ended is looked at no more', async () => {
  const log = vi.fn();
  const { engine, server, states } = await start({ isLaunched: true, log });
  await until(() => engine.report.state === 'ready');
  engine.end('ended with status 1');
  expect([engine.report.state, engine.trouble]).toEqual(['failed', 'ended with status 1']);
  const looks = server.paths.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.paths.length).toBe(looks);
  engine.start(await closedPort());
  await until(() => engine.trouble?.includes('ECONNREFUSED') === true);
  expect(engine.report.state).toBe('loading');
  const next = await serveHttp((_, response) => answerJson(response, models('n')));
  engine.start(next);
  await until(() => engine.report.state === 'ready');
  expect(ids(engine)).toEqual(['n']);
  expect(states).toEqual(['ready', 'failed', 'loading', 'ready']);
  expect(log.mock.calls.filter(([level]) => level === 'warn')).toEqual([]);
});

test('what an engine says that has ended meanwhile is not believed', async () => {
  const { engine, server } = await start({ isLaunched: true });
  const { promise, resolve } = deferred();
  server.held = promise;
  await until(() => server.probes === 1);
  engine.end('was ended by SIGKILL');
  resolve();
  await vi.advanceTimersByTimeAsync(10_000);
  await new Promise((accept) => setImmediate(accept));
  expect(engine.report.state).toBe('failed');
});

test('a look that our own stop ends is no failure of the engine', async () => {
  const log = vi.fn();
  const asked = deferred();
  const url = await serveHttp(() => asked.resolve());
  const engine = engineAt(url, { log });
  engine.start();
  await asked.promise;
  await engine.stop();
  await new Promise((resolve) => setImmediate(resolve));
  expect(log).not.toHaveBeenCalled();
});

test('a healthy engine is looked at without being probed again, and told of only when it changes', async () => {
  const { engine, server, states } = await start();
  await until(() => states.length === 1);
  const { probes } = server;
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 2);
  expect(server.probes).toBe(probes);
  expect(states).toEqual(['ready']);
  server.list = models('m', 'adapter');
  await until(() => states.length === 2);
  expect(ids(engine)).toEqual(['m', 'adapter']);
  await until(() => server.probes === 2 * probes);
});

test('an alias is offered under its public names, each of them, and known by its served name', async () => {
  const aliases = new Map([
    ['gpt', 'm'],
    ['chat', 'm'],
    ['other', 'elsewhere'],
  ]);
  const { engine, server, states } = await start({ aliases });
  server.list = models('m', 'plain', 'gpt');
  await until(() => states.length > 0);
  expect(ids(engine)).toEqual(['gpt', 'chat', 'plain']);
  expect(engine.model('gpt')?.served).toBe('m');
  expect(engine.model('chat')?.served).toBe('m');
  expect(engine.model('plain')?.served).toBe('plain');
  expect(engine.model('m')).toBeUndefined();
});

test('a model that the engine drops is known no longer', async () => {
  const { engine, server, states } = await start();
  server.list = models('m', 'n');
  await until(() => states.length > 0);
  server.list = models('n');
  await until(() => ids(engine).length === 1);
  expect(engine.model('m')).toBeUndefined();
  expect(engine.model('n')).toBeDefined();
});

const catalogue = models(...Array.from({ length: modelsPerReplicaMax + 50 }, (_, index) => `m${index}`));

test('a hosted catalogue is not probed ahead, and offered no further than the bound', async () => {
  const { engine, server, states } = await start();
  server.list = catalogue;
  await until(() => states.length > 0);
  expect(server.probes).toBe(0);
  expect(ids(engine)).toHaveLength(modelsPerReplicaMax);
  expect(engine.model('m0')?.volunteered).toBeUndefined();
  expect(engine.use('elsewhere')).toBeUndefined();
});

test('a model of a catalogue is probed when it is used, once, and one model at a time', async () => {
  const { engine, server, states } = await start();
  server.list = catalogue;
  await until(() => states.length > 0);
  const used = ['m7', 'm3', 'm7', 'm200', 'm3'];
  // The first requests do not wait for it.
  for (const name of used) expect(engine.use(name)).toEqual({ served: name, volunteered: undefined });
  await until(() => engine.model('m200')?.volunteered !== undefined);
  for (const name of used) expect(engine.use(name)?.volunteered?.size).toBe(2);
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 1);
  expect(server.probed).toEqual(['m7', 'm7', 'm3', 'm3', 'm200', 'm200']);
  expect(server.concurrentMax).toBe(1);
});

test('a probe that fails is repeated at the next use, and all are forgotten when the engine was gone', async () => {
  const { engine, server, states } = await start();
  server.list = catalogue;
  await until(() => states.length > 0);
  server.probeStatus = 503;
  engine.use('m1');
  await until(() => server.probes === 1);
  server.probeStatus = 200;
  await until(() => engine.use('m1')?.volunteered !== undefined);
  server.status = 500;
  await until(() => states.at(-1) === 'failed');
  server.status = 200;
  await until(() => states.at(-1) === 'ready');
  expect(engine.model('m1')?.volunteered).toBeUndefined();
});

test('a doubted model is probed anew at the next look, once, and what is known stands until then', async () => {
  const { engine, server, states } = await start();
  await until(() => states.length > 0);
  const { probes } = server;
  const known = engine.model('m')?.volunteered;
  const { promise, resolve } = deferred();
  server.held = promise;
  for (const name of ['m', 'm', 'elsewhere']) engine.doubt(name);
  expect(server.probes).toBe(probes);
  await until(() => server.probes > probes);
  expect(engine.use('m')?.volunteered).toBe(known);
  resolve();
  await until(() => engine.model('m')?.volunteered !== known);
  const looks = server.paths.length;
  await until(() => server.paths.length > looks + 2);
  expect(server.probes).toBe(2 * probes);
  expect(states).toEqual(['ready']);
});

test('a model that is gone before its probe ends stays gone', async () => {
  const { engine, server, states } = await start();
  server.list = catalogue;
  await until(() => states.length > 0);
  const { promise, resolve } = deferred();
  server.held = promise;
  engine.use('m1');
  await until(() => server.probed.includes('m1'));
  server.list = models('n');
  await until(() => ids(engine).length === 1);
  resolve();
  await until(() => engine.model('n')?.volunteered !== undefined && server.probed.length === 4);
  expect(server.probed.filter((model) => model === 'm1')).toHaveLength(2);
  expect(engine.model('m1')).toBeUndefined();
});

test('items of a model list that are no models are left out, and odd fields are made to fit', async () => {
  const { engine, server, states } = await start();
  const odd = { id: 'odd', created: 1.9, owned_by: '' };
  server.list = {
    data: ['x', {}, { id: 7 }, { id: '' }, { id: 'x'.repeat(300) }, odd, { id: 'old', created: -5 }],
  };
  await until(() => states.length > 0);
  expect(engine.report.models).toEqual([
    { id: 'odd', createdSeconds: 1, ownedBy: 'engine' },
    { id: 'old', createdSeconds: 0, ownedBy: 'engine' },
  ]);
});

test.each([
  ['', '/v1'],
  ['v1', '/v1'],
  ['v1/', '/v1'],
  ['proxy/v1', '/proxy/v1'],
  ['v1beta/openai/', '/v1beta/openai'],
])('the URL with the path "/%s" leads to the API below %s', async (suffix, base) => {
  const { server, states } = await start({}, suffix);
  await until(() => states.length > 0);
  expect(new Set(server.paths)).toEqual(
    new Set([`${base}/models`, `${base}/chat/completions`, `${base}/completions`]),
  );
});

test('one that was asked too often serves on, and is left alone for as long as it says', async () => {
  const { engine, server, states } = await start();
  await until(() => engine.report.state === 'ready');
  server.retryAfter = '60';
  server.status = 429;
  const looks = () => server.paths.filter((path) => path === '/v1/models').length;
  const before = looks();
  await until(() => looks() > before);
  const refused = looks();
  await passSeconds(50);
  expect([looks(), states]).toEqual([refused, ['ready']]);
  server.status = 200;
  await until(() => looks() > refused + 1);
  expect(states).toEqual(['ready']);
});

test('a hosted one is looked at as seldom as it is told', async () => {
  const { engine, server } = await start({ pollMs: 30_000 });
  await until(() => engine.report.state === 'ready');
  const looks = server.paths.length;
  await passSeconds(28);
  expect(server.paths.length).toBe(looks);
  await until(() => server.paths.length > looks);
});

test('a body beyond its bound is not read on', async () => {
  const endless = async function* (): AsyncGenerator<Buffer> {
    for (;;) yield Buffer.alloc(10);
  };
  await expect(readBounded(endless(), 95)).rejects.toThrow('95 bytes');
  const short = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('ab');
    yield Buffer.from('c');
  };
  expect(String(await readBounded(short(), 3))).toBe('abc');
});

test('a time of creation that no clock shows is 0, and costs the node nothing', async () => {
  const { engine, server, states } = await start();
  const times = ['1e300', '1e999', '-1e999', '-5', '7.9', '"soon"', 'null', '-0', '9007199254740991'];
  const items = times.map((created, index) => `{"id":"m${index}","created":${created}}`);
  server.raw = `{"data":[${items.join(',')}]}`;
  await until(() => states.at(-1) === 'ready');
  const created = engine.report.models.map(({ createdSeconds }) => createdSeconds);
  expect(created).toEqual([0, 0, 0, 0, 7, 0, 0, 0, Number.MAX_SAFE_INTEGER]);
  expect(parseReplicas(encodeJson({ replicas: [engine.report] }))).toEqual([engine.report]);
});
