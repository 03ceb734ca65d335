/** The fake program in the place of each engine: with its profile's own arguments it serves, or fails as told. */
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { EngineProfile } from '../../node-agent/src/engines/profiles/profile.ts';
import { engineProfiles } from '../../node-agent/src/engines/profiles/profiles.ts';
import { kinds } from '../fakes/engines/kinds.ts';
import { until } from '../harness/until.ts';
import { attach, attachReady, chat, ready } from './conformance.ts';
import { LaunchedProgram } from './launched.ts';
import { serve } from './served.ts';

const command = join(import.meta.dirname, '../fakes/engine-program.ts');
const profileOf = (name: string): EngineProfile => engineProfiles.get(name) as EngineProfile;

const launch = async (profile: EngineProfile, more: Readonly<Record<string, string>> = {}) => {
  const environment = new Map(Object.entries({ FAKE_ENGINE: profile.name, ...more }));
  // What names no model serves "m".
  const servedName = profile.launching?.namesModel ? 'm' : undefined;
  const program = await LaunchedProgram.start(profile, { command, model: 'm', servedName, environment });
  onTestFinished(() => program.stop());
  return program;
};

const launchable = [...kinds.keys()].filter((name) => profileOf(name).launching !== undefined);

test.each(launchable)(
  'as %s it serves the model that the arguments name, at the port that they name',
  async (name) => {
    const { subject } = await launch(profileOf(name));
    const engine = await attachReady(profileOf(name), subject);
    expect(engine.report.models.map(({ id }) => id)).toEqual(['m']);
    expect((await serve(engine, chat('m')).over).code).toBeUndefined();
  },
);

describe('it fails', () => {
  test('by a slow start', async () => {
    const { subject } = await launch(profileOf('llama-cpp'), { FAKE_LOAD_MS: '1500' });
    const engine = attach(profileOf('llama-cpp'), subject);
    const answer = await until('it to say that it loads', async () => {
      const { status } = await fetch(`${subject.url}/health`).catch(() => ({ status: 0 }));
      return status === 503;
    });
    expect(answer).toBe(true);
    await ready(engine);
  });

  test('by a model that never comes: it listens and is never ready', async () => {
    const { subject } = await launch(profileOf('sglang'), { FAKE_FAILURE: 'hang at start' });
    await until('it to listen', () =>
      fetch(`${subject.url}/health`).then(
        ({ status }) => status === 503,
        () => false,
      ),
    );
    const engine = attach(profileOf('sglang'), subject);
    const health = await fetch(`${subject.url}/v1/models`);
    expect(health.status).toBe(503);
    expect(engine.report.state).toBe('loading');
  });

  test('by a crash, at once or later, with its last words', async () => {
    const crashed = await launch(profileOf('vllm'), { FAKE_FAILURE: 'crash' });
    await until('it to end', () => crashed.status !== undefined);
    expect(crashed.status).toBe(1);
    expect(crashed.said).toContain('CUDA error');
    const later = await launch(profileOf('vllm'), { FAKE_FAILURE: 'crash after 1000' });
    await until('it to serve', () => later.said.includes('serving'));
    await until('it to end', () => later.status === 1);
  });

  test('as a test in another process says while it runs', async () => {
    const { subject } = await launch(profileOf('trtllm'));
    const engine = await attachReady(profileOf('trtllm'), subject);
    const said = await fetch(`${subject.url}/fake/failure`, { method: 'PUT', body: 'status 500' });
    expect(said.status).toBe(200);
    const { heads, over } = serve(engine, chat('m'));
    await over;
    expect(heads[0]?.status).toBe(500);
  });
});
