import { utf8 } from '@cognitora/protocol/bytes';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { parseKvDelta, parseKvFeed } from '@cognitora/protocol/kv';
import { kvDeltaMs } from '@cognitora/protocol/limits';
import type { ReplicaReport, Usage } from '@cognitora/protocol/link';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { type PromptProfile, plainProfile } from '@cognitora/protocol/prefix/profile';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openOf } from '../../testing/scripted-edge.ts';
import type { Ask } from '../engines/ask.ts';
import { awaitedPromptsMax } from './awaited-prompt.ts';
import type { EventSource } from './events/event-source.ts';
import type { KvEvent } from './events/wire.ts';
import { KvFeeds } from './kv-feeds.ts';
import { digestsOf } from './kv-ledger.ts';
import { type RenderWay, renderWays } from './render/render.ts';
import { ReplicaTruth } from './replica-truth.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const terms = { salt: 'pepper', blockBytes: 64 };
const body = { model: 'm', messages: [{ role: 'user', content: 'word '.repeat(100) }] };
const path = '/v1/chat/completions';

/** How many blocks the prompt has, as the edge would count. */
const blocksAtEdge = (profile: PromptProfile, model: string): number => {
  const root = rootKey({ salt: terms.salt, model, profile });
  return prefixChain({ path, body }, { root, profile, blockBytes: 64, blocksMax: 99 }).digests.length / 2;
};

const report = (state: ReplicaReport['state'], ...models: string[]): ReplicaReport => ({
  name: 'r0' as ReplicaName,
  state,
  models: models.map((id) => ({ id, createdSeconds: 0, ownedBy: 'x' })),
});

/** A template that can be changed, behind an engine that says what room it has. */
const engineWith = (pages: Readonly<Record<string, JsonRecord | string>> = {}) => {
  const state = { mark: '<', tokenises: true, asked: [] as string[] };
  const render = ({ messages, tools }: JsonRecord): string => {
    const lines = Array.isArray(messages) ? messages.filter(isRecord) : [];
    const written = lines.map(
      ({ role, content }) => `${state.mark}${String(role)}>${String(content ?? '')}\n`,
    );
    return `${tools === undefined ? '' : JSON.stringify(tools)}\n${written.join('')}${state.mark}assistant>`;
  };
  const ask: Ask = async (asked, question) => {
    state.asked.push(asked);
    const page = pages[asked];
    if (typeof page === 'string') return { status: 200, text: page, record: undefined };
    if (page !== undefined) return { status: 200, text: '', record: page };
    if (asked === '/tokenize' && state.tokenises) {
      const tokens = [{ id: 1, piece: question?.content }];
      return { status: 200, text: '', record: { tokens } };
    }
    if (asked !== '/apply-template' || state.mark === '') return { status: 404, text: '', record: undefined };
    return { status: 200, text: '', record: { prompt: render(question ?? {}) } };
  };
  return { state, ask };
};

const truthOf = (
  engine: ReturnType<typeof engineWith>,
  events?: EventSource,
  openWays: () => readonly RenderWay[] = () => renderWays,
) => {
  const doubts: string[] = [];
  const said: string[] = [];
  const profiles: PromptProfile[] = [];
  /** All that were told to be held. */
  const digests: bigint[] = [];
  const feeds = new KvFeeds();
  feeds.linked({
    kv: (frame, payload) => {
      if (frame === 'kvfeed') {
        const { feed, model, trust, profile } = parseKvFeed(payload);
        profiles.push(profile);
        said.push(`feed ${feed}: ${model} ${trust}`);
      } else if (frame === 'kvdelta') {
        const { feed, isCleared, added, removed } = parseKvDelta(payload);
        for (const { digests: words } of added) digests.push(...digestsOf(words));
        const blocks = (list: typeof added): number => (list[0]?.digests.length ?? 0) / 2;
        said.push(`${feed}${isCleared ? ' cleared' : ''} +${blocks(added)} -${blocks(removed)}`);
      }
    },
  });
  const keeping = { bytes: 0, later: (run: () => void) => run(), readReply: () => undefined };
  const truth = new ReplicaTruth({
    name: 'r0' as ReplicaName,
    ask: engine.ask,
    terms,
    feeds,
    keeping,
    monotonicMs: () => 0,
    pause: async () => {},
    servedName: (model) => model.replace('alias-of-', ''),
    openWays,
    onFound: () => {},
    onDoubt: (model, why) => doubts.push(`${model}: ${why}`),
    events,
  });
  const serve = (model = 'm', usage?: Usage, content = body.messages[0]?.content) => {
    const bytes = utf8(JSON.stringify({ ...body, messages: [{ role: 'user', content }] }));
    const prompt = truth.watch(openOf(bytes.length, { model, path }));
    prompt?.body(bytes, true);
    prompt?.data(utf8('{'));
    prompt?.ended(true, usage);
    vi.advanceTimersByTime(kvDeltaMs);
    return prompt;
  };
  const found = async (): Promise<void> => {
    for (let turn = 0; turn < 20_000 && said.length === 0; turn += 1) await Promise.resolve();
  };
  /** Nothing is looked for any more, and what was learned is told. */
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 20_000; turn += 1) await Promise.resolve();
    vi.advanceTimersByTime(kvDeltaMs);
  };
  return { truth, serve, found, settled, said: () => said.splice(0), profiles, keeping, digests, doubts };
};

test('a model gets a feed once its prompts are understood; what is served is told as the edge counts', async () => {
  const { truth, serve, found, said, profiles } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  await found();
  expect(said()).toEqual(['feed 0: m approximate']);
  serve();
  const [profile = plainProfile] = profiles;
  expect(blocksAtEdge(profile, 'm')).toBeGreaterThan(5);
  expect(said()).toEqual([`0 +${blocksAtEdge(profile, 'm')} -0`]);
});

test('an engine that goes away is cleared at once; when it is back the feed goes on', async () => {
  const { truth, serve, found, settled, said } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  await found();
  const running = truth.watch(openOf(9, { model: 'm', path }));
  serve();
  said();
  truth.changed(report('failed', 'm'));
  expect(said()).toEqual(['0 cleared +0 -0']);
  running?.data(utf8('{'));
  truth.changed(report('ready', 'm'));
  serve();
  expect(said()).toEqual([]);
  await settled();
  expect(said()).toEqual([expect.stringMatching(/^0 \+[1-9]/)]);
});

test('what is served before the profile is found is learned once it is, as if it were served then', async () => {
  const { truth, serve, keeping, settled, said, profiles } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  serve();
  // This one still runs when the profile is there.
  const bytes = utf8(
    JSON.stringify({ ...body, messages: [{ role: 'user', content: 'other '.repeat(100) }] }),
  );
  const running = truth.watch(openOf(bytes.length, { model: 'm', path }));
  running?.body(bytes, true);
  running?.head(200);
  expect([said(), keeping.bytes > bytes.length]).toEqual([[], true]);
  await settled();
  const blocks = blocksAtEdge(profiles[0] ?? plainProfile, 'm');
  expect(said()).toEqual(['feed 0: m approximate', `0 +${blocks} -0`]);
  running?.data(utf8('{'));
  running?.ended(true, undefined);
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual([expect.stringMatching(/^0 \+[1-9]/)]);
  expect(keeping.bytes).toBe(0);
});

test('of what waits for a profile the newest is kept, and nothing of an engine that is gone', async () => {
  const { truth, serve, keeping, settled, said } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  serve();
  const eachBytes = keeping.bytes;
  for (let count = 0; count < 2 * awaitedPromptsMax; count += 1) serve();
  expect(keeping.bytes).toBe(awaitedPromptsMax * eachBytes);
  truth.changed(report('failed', 'm'));
  expect(keeping.bytes).toBe(0);
  truth.changed(report('ready', 'm'));
  await settled();
  expect(said()).toEqual(['feed 0: m approximate']);
});

test('two adapters of one base model have a feed each, and share no digest', async () => {
  const { truth, serve, settled, digests } = truthOf(engineWith());
  truth.changed(report('ready', 'base', 'base-legal', 'base-medical'));
  await settled();
  for (const name of ['base-legal', 'base-medical']) serve(name);
  expect(digests.length).toBeGreaterThan(10);
  expect(new Set(digests).size).toBe(digests.length);
});

test('an engine that comes back with another template gets a new feed', async () => {
  const engine = engineWith();
  const { truth, found, said, profiles } = truthOf(engine);
  truth.changed(report('ready', 'm'));
  await found();
  truth.changed(report('failed', 'm'));
  said();
  engine.state.mark = '';
  truth.changed(report('ready', 'm'));
  await found();
  expect(said()).toEqual(['feed 0: m blind', 'feed 0: m approximate']);
  const { id: _, ...facts } = plainProfile;
  expect(profiles.at(-1)).toMatchObject(facts);
});

test('a model that is gone is blind, and requests for it are not watched', async () => {
  const { truth, serve, found, said, keeping } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  await found();
  said();
  truth.changed(report('ready', 'n'));
  expect(said()).toEqual(['feed 0: m blind']);
  expect(serve()).toBeUndefined();
  expect(keeping.bytes).toBe(0);
});

test('a model under two names is looked at once, and has a feed for each name', async () => {
  const engine = engineWith();
  const { truth, found, said } = truthOf(engine);
  truth.changed(report('ready', 'm'));
  await found();
  const asked = engine.state.asked.length;
  truth.changed(report('ready', 'm', 'alias-of-m'));
  for (let turn = 0; turn < 100; turn += 1) await Promise.resolve();
  expect(said()).toEqual(['feed 0: m approximate', 'feed 1: alias-of-m approximate']);
  expect(engine.state.asked.length).toBe(asked);
});

test('of a catalogue only what is used is looked at', async () => {
  const { truth, serve, settled, said } = truthOf(engineWith());
  truth.changed(report('ready', 'a', 'b', 'c', 'd', 'm'));
  for (let turn = 0; turn < 20_000; turn += 1) await Promise.resolve();
  expect(said()).toEqual([]);
  expect(serve('not offered')).toBeUndefined();
  serve();
  await settled();
  // The request that was the first to ask for it is learned, too.
  expect(said()).toEqual(['feed 0: m approximate', expect.stringMatching(/^0 \+[1-9]/)]);
});

test('an engine with one slot loses a prompt to the next one', async () => {
  const { truth, serve, found, said } = truthOf(engineWith({ '/props': { total_slots: 1 } }));
  truth.changed(report('ready', 'm'));
  await found();
  serve();
  said();
  const short = utf8('{"model":"m","messages":[{"role":"user","content":"x"}]}');
  const prompt = truth.watch(openOf(short.length, { model: 'm', path }));
  prompt?.body(short, true);
  prompt?.data(utf8('{'));
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual([expect.stringMatching(/^0 \+0 -[1-9]/)]);
});

test('an engine that says what room it has is claimed to hold no more', async () => {
  const pages = 'sglang:cache_config_info{num_pages="4",page_size="16"} 1.0';
  const { truth, serve, found, said, profiles } = truthOf(engineWith({ '/metrics': pages }));
  truth.changed(report('ready', 'm'));
  await found();
  said();
  serve();
  // Four blocks of 64 bytes.
  expect(blocksAtEdge(profiles[0] ?? plainProfile, 'm')).toBeGreaterThan(5);
  expect(said()).toEqual(['0 +4 -0']);
});

test('an engine that does not say what room it has gets more once it reports more', async () => {
  const [first, second] = ['first '.repeat(40_000), 'second '.repeat(2_500)];
  const claims = async (...usage: Usage[]) => {
    const { truth, serve, found, said } = truthOf(engineWith());
    truth.changed(report('ready', 'm'));
    await found();
    serve('m', usage[0], first);
    said();
    serve('m', undefined, second);
    return said();
  };
  const usage = { promptTokens: 60_000, completionTokens: 1 };
  // Of the first prompt nothing has to go for the second.
  expect(await claims({ ...usage, cachedTokens: 1e6 })).toEqual([expect.stringMatching(/ -0$/)]);
  expect(await claims(usage)).toEqual([expect.stringMatching(/ -[1-9]\d*$/)]);
});

test('a replica that is served no longer is blind', async () => {
  const { truth, serve, found, said } = truthOf(engineWith());
  truth.changed(report('ready', 'm'));
  await found();
  said();
  truth.close();
  expect(said()).toEqual(['feed 0: m blind']);
  expect(serve()).toBeUndefined();
});

/** An engine's events, as a test says them. */
const events = (isTakenAway = false) => {
  let say: (events: readonly KvEvent[], rank: number) => void = () => {};
  const state = { resets: 0, isClosed: false, isFollowed: false };
  const source: EventSource = {
    isTakenAway,
    ranks: 1,
    follow: (onEvents) => {
      state.isFollowed = true;
      say = onEvents;
    },
    reset: () => {
      state.resets += 1;
    },
    close: () => {
      state.isClosed = true;
    },
  };
  const stored: KvEvent = {
    ...{ type: 'stored', names: ['1'], parent: undefined, tokens: [1], blockTokens: 1 },
    ...{ isPlain: true, place: { medium: 'GPU', group: undefined } },
  };
  return { source, state, hear: (event: KvEvent = stored) => say([event], 0) };
};

test('a model whose engine publishes events is exact: what is served is no longer guessed', async () => {
  const { source, state, hear } = events();
  const { truth, serve, found, said } = truthOf(engineWith(), source);
  truth.changed(report('ready', 'm'));
  await found();
  expect(said()).toEqual(['feed 0: m exact']);
  hear();
  serve();
  expect(said()).toEqual([]);
  hear({ type: 'cleared' });
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual(['0 cleared +0 -0']);
  truth.changed(report('failed', 'm'));
  expect(state).toMatchObject({ resets: 1, isClosed: false });
  truth.close();
  expect(state.isClosed).toBe(true);
});

test('what an engine with events said before it went away counts no longer', async () => {
  const { source, hear } = events();
  const { truth, found, said } = truthOf(engineWith(), source);
  truth.changed(report('ready', 'm'));
  await found();
  truth.changed(report('failed', 'm'));
  said();
  hear({ type: 'cleared' });
  vi.advanceTimersByTime(kvDeltaMs);
  expect(said()).toEqual([]);
});

test('events of tokens are of no use where nobody tells what text the tokens are', async () => {
  const engine = engineWith();
  engine.state.tokenises = false;
  const { truth, found, said } = truthOf(engine, events().source);
  truth.changed(report('ready', 'm'));
  await found();
  expect(said()).toEqual(['feed 0: m approximate']);
});

test.each([true, false])(
  'events that only one can hear are taken when they are of use: %s',
  async (isOfUse) => {
    const engine = engineWith();
    engine.state.tokenises = isOfUse;
    const { source, state } = events(true);
    const { truth, found } = truthOf(engine, source);
    truth.changed(report('ready', 'm'));
    expect(state.isFollowed).toBe(false);
    await found();
    expect(state.isFollowed).toBe(isOfUse);
  },
);

test('of an engine with several models nobody can tell whose blocks they are', async () => {
  const { truth, found, said } = truthOf(engineWith(), events().source);
  truth.changed(report('ready', 'm', 'n'));
  await found();
  expect(said()[0]).toBe('feed 0: m approximate');
});

/** The engine's own template and tokens, as if they were ours. */
const oursWays = () => {
  const state = { closed: 0 };
  const close = (): void => {
    state.closed += 1;
  };
  return { state, open: () => renderWays.map((way) => ({ ...way, isOurs: true, close })) };
};

test('prompts of ours that the engine counts otherwise make its models approximate, while it lives', async () => {
  const { state, open } = oursWays();
  const { truth, serve, found, settled, said, doubts, profiles } = truthOf(
    engineWith(),
    events().source,
    open,
  );
  truth.changed(report('ready', 'm', 'alias-of-m'));
  await found();
  await settled();
  expect(said().sort()).toEqual(['feed 0: m exact', 'feed 1: alias-of-m exact']);
  // The engine says that the prompt is one token.
  serve('m', { promptTokens: 1, completionTokens: 1 });
  await settled();
  expect([said(), doubts]).toEqual([[], []]);
  serve('m', { promptTokens: 2, completionTokens: 1 });
  serve('m', { promptTokens: 2, completionTokens: 1 });
  serve('m', { promptTokens: 2, completionTokens: 1 });
  await settled();
  expect(doubts).toEqual(['m: the engine counts 2 tokens in a prompt in which we count 1']);
  expect(said().filter((one) => !one.includes('blind'))).toEqual([
    expect.stringMatching(/^feed \d: m approximate$/),
    expect.stringMatching(/^feed \d: alias-of-m approximate$/),
  ]);
  // The template is still the best guess of how its prompts are written.
  expect(profiles.at(-1)?.id).toBe(profiles.at(0)?.id);
  expect(state.closed).toBe(2);
  serve();
  expect(said()).toEqual([expect.stringMatching(/^\d \+[1-9]/)]);
  truth.changed(report('failed', 'm'));
  truth.changed(report('ready', 'm'));
  await settled();
  expect(said()).toContainEqual(expect.stringMatching(/m exact$/));
});
