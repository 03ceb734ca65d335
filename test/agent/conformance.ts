/**
 * What every engine must be to the agent, whatever it is: shared by the fakes of all profiles and by real engines. Each
 * check goes through the agent's own `Engine` and `ServedRequest`, and through nothing else that knows an engine.
 */
import { expect, onTestFinished, test } from 'vitest';
import { asker } from '../../node-agent/src/engines/ask.ts';
import { Engine } from '../../node-agent/src/engines/engine.ts';
import type { EngineProfile, MetricNames } from '../../node-agent/src/engines/profiles/profile.ts';
import { zeromqSource } from '../../node-agent/src/truth/events/zeromq-source.ts';
import { applyTemplate } from '../../node-agent/src/truth/render/apply-template.ts';
import type { RenderWay } from '../../node-agent/src/truth/render/render.ts';
import { tokenizeMessages } from '../../node-agent/src/truth/render/tokenize-messages.ts';
import type { ReplicaName } from '../../protocol/src/ids.ts';
import { until } from '../harness/until.ts';
import { serve } from './served.ts';

export interface Subject {
  readonly url: string;
  readonly model: string;
  readonly apiKey?: string;
  /** Where it publishes events of its cache. */
  readonly events?: string;
}

/** The agent's side of a subject; it stops with the test. */
export const attach = (profile: EngineProfile, { url, apiKey }: Subject): Engine => {
  const engine = new Engine({
    name: 'r0' as ReplicaName,
    url: new URL(url),
    apiKey,
    aliases: new Map(),
    healthPath: profile.health?.path,
    log: () => {},
    onChange: () => {},
  });
  engine.start();
  onTestFinished(() => engine.stop());
  return engine;
};

export const ready = (engine: Engine): Promise<unknown> =>
  until(`the engine to be ready`, () => engine.report.state === 'ready', 60_000);

export const attachReady = async (profile: EngineProfile, subject: Subject): Promise<Engine> => {
  const engine = attach(profile, subject);
  await ready(engine);
  return engine;
};

/** Long enough for every engine to keep blocks of it. */
const content = `${'The quick brown fox jumps over the lazy dog. '.repeat(6)}Then`;
export const chat = (model: string, more: object = {}) => ({
  ...{ model, messages: [{ role: 'user', content }], max_tokens: 8, temperature: 0 },
  ...more,
});

/** The sum of the first of these that the page has; undefined when it has none. */
export const figure = (page: string, names: MetricNames): number | undefined => {
  for (const name of names) {
    const values = page
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .map((line) => Number(line.slice(line.lastIndexOf(' '))));
    if (values.length > 0) return values.reduce((sum, value) => sum + value, 0);
  }
  return undefined;
};

export const metricsPage = async (profile: EngineProfile, { url }: Subject): Promise<string> => {
  const answer = await fetch(new URL(profile.metrics?.path ?? '', url));
  expect(answer.status).toBe(200);
  return answer.text();
};

/** Asks until an event of a stored block was heard: a subscriber may join late. */
const hearsStored = async (engine: Engine, { model, events = '' }: Subject): Promise<void> => {
  const heard: string[] = [];
  const source = zeromqSource({ events, replay: undefined, log: () => {}, pause: async () => {} });
  onTestFinished(() => source.close());
  source.follow((batch) => heard.push(...batch.map(({ type }) => type)));
  let asked = 0;
  await until('an event of a stored block', async () => {
    asked += 1;
    // Each prompt has blocks of its own.
    const messages = [{ role: 'user', content: `${asked} ${content}` }];
    await serve(engine, { ...chat(model), messages }).over;
    return heard.includes('stored');
  });
};

const askEvents = async (url: string, path: string): Promise<string> => {
  const answer = await fetch(new URL(path, url), { method: 'POST' });
  return answer.status === 200 ? answer.text() : '';
};

const usageTests = (profile: EngineProfile, subject: () => Subject): void => {
  test.each([true, false])(
    'a chat with stream %s is whole, with its usage and what was cached',
    async (stream) => {
      const { model } = subject();
      const engine = await attachReady(profile, subject());
      await serve(engine, chat(model, { stream })).over;
      const { over, heads, text } = serve(engine, chat(model, { stream }));
      const { code, usage } = await over;
      expect(code).toBeUndefined();
      expect(heads[0]?.status).toBe(200);
      expect(text()).toContain(stream ? 'data: [DONE]' : '"finish_reason":');
      expect(usage?.promptTokens).toBeGreaterThan(0);
      expect(usage?.completionTokens).toBeGreaterThan(0);
      if (profile.reportsCachedTokens) expect(usage?.cachedTokens).toBeGreaterThan(0);
      else expect(usage?.cachedTokens).toBeUndefined();
      // What the agent asked for beyond the client's wish stays with the agent.
      if (stream) expect(text()).not.toContain('"prompt_tokens"');
    },
  );

  test('a completion is whole, with its usage', async () => {
    const { model } = subject();
    const engine = await attachReady(profile, subject());
    const { over } = serve(engine, { model, prompt: content, max_tokens: 4 });
    const { code, usage } = await over;
    expect(code).toBeUndefined();
    expect(usage?.promptTokens).toBeGreaterThan(0);
  });
};

const waysOf: Readonly<Record<NonNullable<EngineProfile['renders']>, RenderWay>> = {
  'template, then tokens': applyTemplate,
  'tokens of messages': tokenizeMessages,
};

/** What only a real engine can show: fakes have no template. */
export const conformanceOfReal = (profile: EngineProfile, subject: () => Subject): void => {
  test.runIf(profile.renders)('it shows its prompts as the profile says', async () => {
    const way = waysOf[profile.renders ?? 'tokens of messages'];
    const ask = asker(await attachReady(profile, subject()));
    const rendered = await way.render(ask, subject().model, { messages: [{ role: 'user', content }] });
    expect(rendered).toContain(content);
    const shown = await way.show(ask, subject().model, { messages: [{ role: 'user', content }] });
    expect(shown?.tokens.ids.length).toBeGreaterThan(0);
  });

  test('a client that leaves ends the work of the engine', async () => {
    const engine = await attachReady(profile, subject());
    const running = async (): Promise<number | undefined> =>
      figure(await metricsPage(profile, subject()), profile.metrics?.running ?? []);
    const served = serve(engine, chat(subject().model, { stream: true, max_tokens: 800 }));
    await served.firstBytes();
    expect(await running()).toBe(1);
    served.cancel();
    await until('the engine to be idle', async () => (await running()) === 0);
  });
};

/** What fakes and real engines show alike. */
export const conformanceOfAll = (profile: EngineProfile, subject: () => Subject): void => {
  test('it lists its model', async () => {
    const engine = await attachReady(profile, subject());
    expect(engine.report.models.map(({ id }) => id)).toEqual([subject().model]);
  });

  usageTests(profile, subject);

  test.runIf(profile.metrics)(
    'its metrics are where the profile says, under the names that it says',
    async () => {
      const { metrics } = profile;
      if (metrics === undefined) return;
      const engine = await attachReady(profile, subject());
      await serve(engine, chat(subject().model)).over;
      const page = await metricsPage(profile, subject());
      expect(figure(page, metrics.running)).toBe(0);
      expect(figure(page, metrics.waiting)).toBeGreaterThanOrEqual(0);
      for (const counter of [metrics.promptTokens, metrics.cachedTokens, metrics.generatedTokens]) {
        if (counter.length > 0) expect(figure(page, counter), String(counter)).toBeGreaterThan(0);
      }
    },
  );

  test.runIf(profile.kvEvents)('events of its cache come from where the profile says', async () => {
    const engine = await attachReady(profile, subject());
    if (profile.kvEvents?.kind === 'zmq') {
      await hearsStored(engine, subject());
      return;
    }
    const path = profile.kvEvents?.path ?? '';
    await serve(engine, chat(subject().model)).over;
    expect(await askEvents(subject().url, path)).toContain('"stored"');
  });
};
