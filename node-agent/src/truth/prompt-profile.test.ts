import { headFields, plainProfile } from '@cognitora/protocol/prefix/profile';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, test } from 'vitest';
import type { Answer, Ask } from '../engines/ask.ts';
import { findProfile } from './prompt-profile.ts';
import { renderWays } from './render/render.ts';

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

const find = async (ask: Ask, isOver = () => false) => {
  const pauses: number[] = [];
  const found = await findProfile({
    ask,
    served: 'served',
    ways: renderWays,
    monotonicMs: () => 0,
    pause: async (ms) => {
      pauses.push(ms);
    },
    isOver,
    onDoubt: () => {},
  });
  return { found, pauses };
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
