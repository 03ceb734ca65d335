import { headFields, plainProfile } from '@cognitora/protocol/prefix/profile';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, test } from 'vitest';
import type { Answer, Ask } from '../engines/ask.ts';
import { findProfile } from './prompt-profile.ts';
import { Disagrees, NoSuchWay } from './render/outcome.ts';
import { type RenderWay, renderWays } from './render/render.ts';

const answer = (status: number, record: JsonRecord = {}): Answer => ({
  status,
  record,
  text: JSON.stringify(record),
});
const refusal = answer(400, { error: { message: 'no' } });

/** A template that writes tools, then each message, and knows an option. */
const rendered = ({ messages, tools, reasoning_effort: effort = 'medium' }: JsonRecord): string => {
  const lines = Array.isArray(messages) ? messages.filter(isRecord) : [];
  const told = lines.map(({ role, content, tool_calls: calls }) => {
    const called = calls === undefined ? '' : JSON.stringify(calls);
    return `<${String(role)}>${String(content ?? '')}${called}\n`;
  });
  return `${String(effort)}${tools === undefined ? '' : JSON.stringify(tools)}\n${told.join('')}<assistant>`;
};

type Routes = Readonly<Record<string, (body: JsonRecord) => Answer | undefined>>;

/** An engine with some routes; a route that answers nothing hangs up. */
const engineWith = (routes: Routes) => {
  const paths: string[] = [];
  let busy = 0;
  let busyMax = 0;
  const ask: Ask = async (path, body = {}) => {
    paths.push(path);
    busy += 1;
    busyMax = Math.max(busyMax, busy);
    await Promise.resolve();
    busy -= 1;
    const given = routes[path] === undefined ? answer(404) : routes[path](body);
    if (given === undefined) throw new Error('hung up');
    return given;
  };
  return { ask, paths, busyMax: () => busyMax };
};

const find = async (ask: Ask, isOver = () => false, ways: readonly RenderWay[] = renderWays) => {
  const pauses: number[] = [];
  const doubts: string[] = [];
  const found = await findProfile({
    ask,
    served: 'served',
    ways,
    monotonicMs: () => 0,
    pause: async (ms) => {
      pauses.push(ms);
    },
    isOver,
    onDoubt: (why) => doubts.push(why),
  });
  return { found, pauses, doubts };
};

/** Tokens are characters. */
const tokenRoutes: Routes = {
  '/tokenize': (body) =>
    body.model === 'served'
      ? answer(200, { tokens: [...rendered({ ...body, reasoning_effort: 'medium' })] })
      : refusal,
  '/detokenize': ({ tokens }) => answer(200, { prompt: Array.isArray(tokens) ? tokens.join('') : '' }),
};

describe('the profile of an engine that', () => {
  test('applies its template is found, one question after the other', async () => {
    const engine = engineWith({ '/apply-template': (body) => answer(200, { prompt: rendered(body) }) });
    const { found } = await find(engine.ask);
    expect(found?.profile).toMatchObject({ claims: 'all', tools: 'first', headFields: ['reasoning_effort'] });
    expect(found?.facts.verbatim).toContain('user');
    expect(engine.busyMax()).toBe(1);
    expect(engine.paths.length).toBeLessThan(400);
  });

  test('takes no tools claims nothing of requests with tools', async () => {
    const engine = engineWith({
      '/apply-template': (body) =>
        body.tools === undefined ? answer(200, { prompt: rendered(body) }) : refusal,
    });
    expect((await find(engine.ask)).found?.profile).toMatchObject({ claims: 'all', tools: 'unknown' });
  });

  test('raises an exception where its template refuses is taken at its word', async () => {
    const raised = answer(500, { error: { message: 'roles must alternate' } });
    const engine = engineWith({
      '/apply-template': (body) =>
        body.tools === undefined ? answer(200, { prompt: rendered(body) }) : raised,
    });
    expect((await find(engine.ask)).found?.profile).toMatchObject({ claims: 'all', tools: 'unknown' });
  });

  test('only tokenises is found too, but nothing is known of options', async () => {
    const { found } = await find(engineWith(tokenRoutes).ask);
    expect(found?.profile).toMatchObject({ claims: 'all', tools: 'first', headFields: [...headFields] });
  });

  test('shows no prompt is plain', async () => {
    const plain = { profile: plainProfile, way: undefined };
    expect((await find(engineWith({}).ask)).found).toMatchObject(plain);
    expect((await find(engineWith({ '/apply-template': () => refusal }).ask)).found).toMatchObject(plain);
    const mute = engineWith({ '/apply-template': () => answer(200), '/tokenize': () => answer(200) });
    expect((await find(mute.ask)).found).toMatchObject(plain);
  });
});

test('an engine that is busy is asked again, ever later, and in the end left alone', async () => {
  let asked = 0;
  const busy = engineWith({
    '/apply-template': (body) => {
      asked += 1;
      if (asked < 50) return asked % 2 === 0 ? undefined : answer(503, { error: {} });
      return answer(200, { prompt: rendered(body) });
    },
  });
  const { found, pauses } = await find(busy.ask);
  expect(pauses).toEqual([2_000, 4_000, 8_000, 16_000, 32_000]);
  expect(found?.profile).toEqual(plainProfile);
  asked = 47;
  expect((await find(busy.ask)).found?.way).toBeDefined();
});

test('of an engine that is gone nothing is found, and it is not asked for long', async () => {
  let isOver = false;
  const engine = engineWith({
    '/apply-template': (body) => {
      isOver = true;
      return answer(200, { prompt: rendered(body) });
    },
  });
  expect((await find(engine.ask, () => isOver)).found).toBeUndefined();
  expect(engine.paths.length).toBe(1);
});

test('an engine whose every answer differs is not asked for ever', async () => {
  let asked = 0;
  const engine = engineWith({
    '/apply-template': (body) => {
      asked += 1;
      return answer(200, { prompt: `${asked} ${rendered(body)}` });
    },
  });
  expect((await find(engine.ask)).found?.profile.claims).toBe('none');
  expect(engine.paths.length).toBeLessThan(600);
});

describe('of several ways', () => {
  /** One that renders like the engine, and shows as many tokens as it is told to. */
  const wayThat = (show: RenderWay['show']): RenderWay => ({
    showsOptions: true,
    render: async (_ask, _served, body) => rendered(body),
    show,
  });
  const shown: RenderWay['show'] = async () => ({ text: 'a', tokens: { ids: [1], ends: Int32Array.of(1) } });
  const tells = wayThat(shown);
  const mute = wayThat(async () => undefined);
  const refused: RenderWay = { ...tells, render: async () => undefined };
  const missing: RenderWay = { ...tells, render: () => Promise.reject(new NoSuchWay()) };
  const { ask } = engineWith({});

  test.each<[what: string, ways: readonly RenderWay[], chosen: RenderWay | undefined, showsTokens: boolean]>([
    ['the first that shows tokens is taken', [missing, mute, tells, wayThat(shown)], tells, true],
    ['one that the template refuses is passed over', [refused, tells], tells, true],
    [
      'the first that renders is taken where none shows tokens',
      [missing, mute, wayThat(mute.show)],
      mute,
      false,
    ],
    ['none is taken where none renders', [missing, refused], undefined, false],
  ])('%s', async (_, ways, chosen, showsTokens) => {
    const { found } = await find(ask, undefined, ways);
    expect(found?.way).toBe(chosen);
    expect(found?.showsTokens).toBe(showsTokens);
  });

  test('one that the engine refutes still tells how prompts are written, and that it was refuted', async () => {
    const refuted = wayThat(() => Promise.reject(new Disagrees('3 tokens where ours are 18')));
    const { found, doubts } = await find(ask, undefined, [refuted]);
    expect(found).toMatchObject({ showsTokens: false, profile: { claims: 'all' } });
    expect(doubts).toEqual(['3 tokens where ours are 18']);
  });
});
