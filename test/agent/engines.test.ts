/** The conformance suite of engines: every profile against its fake, `embedded` and a `llama-server` for real. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import { ensureTiny } from '../../embedded-engine/src/models/tiny.ts';
import type { EngineProfile } from '../../node-agent/src/engines/profiles/profile.ts';
import { engineProfiles } from '../../node-agent/src/engines/profiles/profiles.ts';
import type { ErrorCode } from '../../protocol/src/errors.ts';
import { firstTokenMsMax, interTokenMsMax } from '../../protocol/src/limits.ts';
import { type Failure, type Kind, LivingFake } from '../fakes/engines/fake.ts';
import { kinds } from '../fakes/engines/kinds.ts';
import { until } from '../harness/until.ts';
import {
  attach,
  attachReady,
  chat,
  conformanceOfAll,
  conformanceOfReal,
  figure,
  metricsPage,
  ready,
  type Subject,
} from './conformance.ts';
import { LaunchedProgram } from './launched.ts';
import { type Served, serve } from './served.ts';

const model = 'm';

const subjectOf = (fake: LivingFake, events?: string): Subject => ({
  url: fake.url,
  model,
  ...(fake.kind.name === 'openai' ? { apiKey: 'sk-fake' } : {}),
  ...(events === undefined ? {} : { events }),
});

const apiKeyOf = (kind: Kind) => (kind.name === 'openai' ? { apiKey: 'sk-fake' } : {});

const startFake = async (kind: Kind): Promise<{ fake: LivingFake; subject: Subject }> => {
  const fake = await new LivingFake(kind, { models: [model], ...apiKeyOf(kind) }).start();
  onTestFinished(() => fake.stop());
  return { fake, subject: subjectOf(fake) };
};

interface Failing {
  readonly failure: Exclude<Failure, 'none'>;
  /** Undefined: the engine's own answer goes to the client. */
  readonly code: ErrorCode | undefined;
  readonly status: number | undefined;
  /** What has to happen before the agent gives up. */
  readonly during?: (served: Served) => Promise<void> | void;
}

const failings: readonly Failing[] = [
  { failure: 'status 500', code: undefined, status: 500 },
  { failure: 'truncated', code: 'engine_broke_off', status: 200 },
  {
    failure: 'hang',
    code: 'first_token_timeout',
    status: undefined,
    during: ({ sweepAfter }) => sweepAfter(firstTokenMsMax + 1),
  },
  {
    failure: 'stall',
    code: 'inter_token_timeout',
    status: 200,
    during: async ({ firstBytes, sweepAfter }) => {
      await firstBytes();
      sweepAfter(interTokenMsMax + 1);
    },
  },
  { failure: 'wrong type', code: 'engine_not_understood', status: undefined },
];

const failureTests = (profile: EngineProfile, kind: Kind): void => {
  test.each(failings)('it fails by $failure, the agent says $code, and it serves again', async (failing) => {
    const { fake, subject } = await startFake(kind);
    const engine = await attachReady(profile, subject);
    fake.failure = failing.failure;
    const served = serve(engine, chat(model, { stream: true }));
    let isOver = false;
    void served.over.then(() => {
      isOver = true;
    });
    await until('the request to reach the engine', () => fake.counts.running > 0 || isOver);
    await failing.during?.(served);
    const { code, usage } = await served.over;
    expect(code).toBe(failing.code);
    expect(usage).toBeUndefined();
    expect(served.heads[0]?.status).toBe(failing.status);
    if (failing.failure === 'status 500') expect(served.text()).toBe(kind.error500);
    if (failing.failure === 'wrong type') expect(served.text()).toBe('');
    // Nothing of it stays with the engine.
    await until('the engine to be idle', () => fake.counts.running === 0);
    fake.failure = 'none';
    expect((await serve(engine, chat(model)).over).code).toBeUndefined();
  });

  test('it crashes within a stream and comes back, and the agent knows each', async () => {
    const { fake, subject } = await startFake(kind);
    const engine = await attachReady(profile, subject);
    fake.failure = 'stall';
    const served = serve(engine, chat(model, { stream: true }));
    await served.firstBytes();
    await fake.stop();
    expect((await served.over).code).toBe('engine_broke_off');
    expect((await serve(engine, chat(model)).over).code).toBe('engine_unreachable');
    await until('the agent to see that it is gone', () => engine.report.state === 'failed');
    fake.failure = 'none';
    await fake.start();
    await ready(engine);
    expect((await serve(engine, chat(model)).over).code).toBeUndefined();
  });
};

const fakeTests = (profile: EngineProfile, kind: Kind): void => {
  test('it is ready once its model is there, not when its port is open', async () => {
    let load = (): void => {};
    const loaded = new Promise<void>((resolve) => {
      load = resolve;
    });
    const port = await freePort();
    const fake = new LivingFake(kind, { models: [model], port, loaded, ...apiKeyOf(kind) });
    const listening = fake.start();
    onTestFinished(() => fake.stop());
    const engine = attach(profile, { ...subjectOf(fake), url: `http://127.0.0.1:${port}` });
    const isSilent = kind.whileLoading === 'no listener';
    // Some looks at it, of which none may find it ready.
    await until('looks at the engine', () => isSilent || fake.received.length > 1);
    if (isSilent) await until('the agent to see nobody there', () => engine.report.state === 'failed');
    expect(engine.report.state).not.toBe('ready');
    load();
    await listening;
    await ready(engine);
  });

  test('a client that leaves ends the work of the engine', async () => {
    const { fake, subject } = await startFake(kind);
    const engine = await attachReady(profile, subject);
    fake.failure = 'stall';
    const served = serve(engine, chat(model, { stream: true }));
    await served.firstBytes();
    if (profile.metrics !== undefined) {
      expect(figure(await metricsPage(profile, subject), profile.metrics.running)).toBe(1);
    }
    served.cancel();
    await until('the engine to hear of it', () => fake.aborted === 1 && fake.counts.running === 0);
  });

  test.runIf(profile.metrics)('its share of used cache is read as a share', async () => {
    const { subject } = await startFake(kind);
    const page = await metricsPage(profile, subject);
    const { kvUsage } = profile.metrics ?? {};
    const isNew = Array.isArray(kvUsage) && !page.includes('llamacpp:');
    expect(figure(page, Array.isArray(kvUsage) ? (kvUsage as string[]) : [])).toBe(isNew ? 0.25 : undefined);
  });

  test('it publishes events only where the profile says so', () => {
    expect(kind.kvEvent !== undefined).toBe(profile.kvEvents?.kind === 'zmq');
  });

  failureTests(profile, kind);
};

describe.each([...kinds])('%s, a fake', (name, kind) => {
  const profile = engineProfiles.get(name) as EngineProfile;
  let fake: LivingFake;
  let events = '';
  beforeAll(async () => {
    events = `tcp://127.0.0.1:${await freePort()}`;
    fake = await new LivingFake(kind, { models: [model], events, ...apiKeyOf(kind) }).start();
  });
  afterAll(() => fake.stop());
  conformanceOfAll(profile, () => subjectOf(fake, events));
  fakeTests(profile, kind);
});

/** Its profile's own arguments start it; the toy model is made on the spot. */
describe('embedded, the real engine', () => {
  const profile = engineProfiles.get('embedded') as EngineProfile;
  let program: LaunchedProgram;
  beforeAll(async () => {
    const more = ['--models-dir', '{directory}/models'];
    program = await LaunchedProgram.start(profile, { model: 'tiny', servedName: model, arguments: more });
  });
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`\n--- the engine said\n${program.said}\n---\n`);
  });
  afterAll(() => program.stop());
  conformanceOfAll(profile, () => program.subject);
  conformanceOfReal(profile, () => program.subject);
});

const hasLlamaServer = spawnSync('llama-server', ['--version']).error === undefined;

describe.runIf(hasLlamaServer)('llama-cpp, a llama-server of this machine', () => {
  const profile = engineProfiles.get('llama-cpp') as EngineProfile;
  let models = '';
  let program: LaunchedProgram;
  beforeAll(async () => {
    models = mkdtempSync(join(tmpdir(), 'cognitora-models-'));
    const { path } = await ensureTiny(models);
    program = await LaunchedProgram.start(profile, { model: path, servedName: model });
  });
  afterAll(() => rmSync(models, { recursive: true, force: true }));
  afterAll(() => program.stop());
  conformanceOfAll(profile, () => program.subject);
  conformanceOfReal(profile, () => program.subject);
});
