import { canonicalBytes } from '@cognitora/protocol/prefix/canonical';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { plainProfile, profileOf } from '@cognitora/protocol/prefix/profile';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { describe, expect, test } from 'vitest';
import type { Answer, Ask } from '../../engines/ask.ts';
import { digestsOf, KvLedger } from '../kv-ledger.ts';
import { applyTemplate } from '../render/apply-template.ts';
import { Disagrees } from '../render/outcome.ts';
import type { RenderWay } from '../render/render.ts';
import { ExactModel } from './exact-model.ts';
import { RankBlocks } from './rank-blocks.ts';
import { tellMsMax, unmatchedMax } from './render-check.ts';
import type { KvEvent } from './wire.ts';

const path = '/v1/chat/completions';
const blockTokens = 16;
/** Each character is a token. */
const tokensOf = (text: string): number[] => [...text].map((character) => character.codePointAt(0) ?? 0);
const render = (messages: unknown): string =>
  (Array.isArray(messages) ? messages.filter(isRecord) : [])
    .map(({ role, content }) => `<|${String(role)}|>${String(content)}\n`)
    .join('');
const answer = (record: JsonRecord): Answer => ({ status: 200, text: '', record });
const says = (role: string, content: string): JsonRecord => ({ role, content });
const asks = (...messages: JsonRecord[]): JsonRecord => ({ model: 'm', max_tokens: 5, messages });

const rules = says('system', 'rule '.repeat(40));
const first = asks(rules, says('user', 'question '.repeat(30)));
const text = `${render(first.messages)}<|assistant|>`;

/** The rules stand behind some marks in the canonical bytes, and behind their role in the rendered prompt. */
const canonical = Buffer.from(canonicalBytes({ path, body: first }, plainProfile, 4096)).toString('latin1');
const blocksNeeded = (digest: number): number =>
  Math.ceil((digest * 64 - canonical.indexOf('rule') + text.indexOf('rule ')) / blockTokens);

const model = (isOurs = false) => {
  const doubts: string[] = [];
  const time = { ms: 0 };
  const way: { -readonly [Part in keyof RenderWay]: RenderWay[Part] } = { ...applyTemplate, isOurs };
  const rendered: JsonRecord[] = [];
  const ask: Ask = async (asked, body = {}) => {
    if (asked === '/tokenize') {
      const pieces = [...String(body.content)].map((piece) => ({ id: piece.codePointAt(0), piece }));
      return answer({ tokens: pieces });
    }
    rendered.push(body);
    return answer({ prompt: `${render(body.messages)}<|assistant|>` });
  };
  const profile = profileOf(plainProfile);
  const root = rootKey({ salt: 's', model: 'm', profile });
  const chain = { root, profile, blockBytes: 64, blocksMax: 99 };
  const [ledger, blocks] = [new KvLedger(), new RankBlocks()];
  const facts = { verbatim: ['system', 'user', 'assistant'] as const, toolText: undefined };
  const exact = new ExactModel({
    ask,
    served: 'm',
    way,
    found: { profile, facts, way, showsTokens: true },
    chain,
    ledger,
    blocks,
    onChange: () => {},
    monotonicMs: () => time.ms,
    onDoubt: (why) => doubts.push(why),
  });
  const place = { medium: 'GPU', group: undefined } as const;
  /** Blocks go by the text that they end. */
  const nameOf = (of: string, at: number): string => of.slice(0, (at + 1) * blockTokens);
  const stored = new Set<string>();
  const store = (of: string, at: number): readonly KvEvent[] => {
    const name = nameOf(of, at);
    if (stored.has(name)) return [];
    stored.add(name);
    const parent = at === 0 ? undefined : nameOf(of, at - 1);
    const tokens = tokensOf(name).slice(-blockTokens);
    return [{ type: 'stored', names: [name], parent, tokens, blockTokens, isPlain: true, place }];
  };
  /** The engine evaluated all full blocks of a text, or as many as are asked for, but those that it has. */
  const evaluate = (of: string, count = Math.floor(of.length / blockTokens)): void => {
    const events = Array.from({ length: count }, (_, at) => store(of, at)).flat();
    exact.changed(blocks.apply(events));
  };
  /** A block of the first prompt is gone. */
  const remove = (at: number): void => {
    const name = nameOf(text, at);
    stored.delete(name);
    exact.changed(blocks.apply([{ type: 'removed', names: [name], place }]));
  };
  const digests = (body: JsonRecord, reply?: JsonRecord): BigUint64Array =>
    digestsOf(prefixChain({ path, body, ...(reply === undefined ? {} : { reply }) }, chain).digests);
  const held = (body: JsonRecord): number => ledger.heldOf(digests(body));
  return { exact, evaluate, remove, digests, held, ledger, rendered, doubts, way, time };
};

test('of a prompt just those digests are claimed whose text the engine’s blocks reach', async () => {
  const { exact, evaluate, held, digests, remove } = model();
  evaluate('x'.repeat(16));
  await exact.saw({ path, body: first });
  expect(held(first)).toBe(0);
  evaluate(text, 12);
  const within = [1, 2, 3].filter((digest) => blocksNeeded(digest) <= 12);
  expect([held(first), within.length]).toEqual([2, 2]);
  remove(blocksNeeded(2) - 1);
  expect(held(first)).toBe(1);
  evaluate(text);
  expect(held(first)).toBe(digests(first).length);
  remove(blocksNeeded(1) - 1);
  expect(held(first)).toBe(0);
});

test('it does not matter whether the engine or the prompt was first', async () => {
  const { exact, evaluate, held, digests } = model();
  evaluate(text);
  await exact.saw({ path, body: first });
  expect(held(first)).toBe(digests(first).length);
});

test('the turn after is claimed as far as it renders to the tokens that the engine holds', async () => {
  const { exact, evaluate, held, digests } = model();
  const reply = says('assistant', 'answer '.repeat(30));
  const next = asks(...(first.messages as JsonRecord[]), reply, says('user', 'more'));
  evaluate(`${text}${String(reply.content)}`);
  await exact.saw({ path, body: first, reply });
  expect(held(next)).toBeGreaterThan(digests(first).length);
  const other = model();
  // It said something else than what the next turn would show.
  other.evaluate(`${text} ${String(reply.content)}`);
  await other.exact.saw({ path, body: first, reply });
  expect(other.held(next)).toBe(digests(first).length);
});

test('only what may change a prompt is rendered, and prompts that are kept apart are not learned', async () => {
  const { exact, evaluate, ledger, rendered } = model();
  evaluate(text);
  for (const name of ['cache_salt', 'extra_key', 'lora', 'lora_path', 'media_io_kwargs']) {
    await exact.saw({ path, body: { ...first, [name]: 'tenant' } });
  }
  await exact.saw({ path: '/v1/completions', body: { prompt: text } });
  expect([ledger.size, rendered.length]).toEqual([0, 0]);
  await exact.saw({ path, body: { ...first, tool_choice: 'none' } });
  expect(Object.keys(rendered[0] ?? {}).sort()).toEqual(['add_generation_prompt', 'messages', 'tool_choice']);
});

test('a busy host claims less: of many prompts that wait the oldest are forgotten', async () => {
  const { exact, evaluate, rendered } = model();
  evaluate(text);
  const all = Array.from({ length: 100 }, (_, at) =>
    exact.saw({ path, body: asks(rules, says('user', `question ${at}`)) }),
  );
  await Promise.all(all);
  expect(rendered.length).toBe(65);
});

test('an engine that is cleared is claimed for nothing, and again once it holds the blocks', async () => {
  const { exact, evaluate, held, digests } = model();
  await exact.saw({ path, body: first });
  evaluate(text);
  await exact.saw({ path, body: first });
  exact.changed({ isCleared: true, held: [], gone: [] });
  expect(held(first)).toBe(0);
  const { length } = digests(first);
  exact.changed({ isCleared: false, held: [...digestsOf(new Uint32Array())], gone: [] });
  expect([held(first), length > 5]).toEqual([0, true]);
});

test('a prompt that was seen before any event is claimed once one says how large blocks are', async () => {
  const { exact, evaluate, held, digests } = model();
  await exact.saw({ path, body: first });
  evaluate(text);
  expect(held(first)).toBe(digests(first).length);
});

test.each([
  { continue_final_message: true },
  { add_generation_prompt: false },
  { chat_template: '{{ messages }}' },
  { documents: [{ text: 'a' }] },
])('a prompt that is written otherwise than anybody renders it is not claimed: %j', async (more) => {
  const { exact, evaluate, ledger, rendered } = model();
  evaluate(text);
  await exact.saw({ path, body: { ...first, ...more } });
  expect([ledger.size, rendered.length]).toEqual([0, 0]);
});

describe('of prompts that we render ourselves', () => {
  const counted = (promptTokens: number) => ({ promptTokens, completionTokens: 1 });

  test('only those are claimed in which the engine counts as many tokens', async () => {
    const { exact, evaluate, held, digests, doubts } = model(true);
    evaluate(text);
    await exact.saw({ path, body: first });
    expect(held(first)).toBe(0);
    await exact.saw({ path, body: first }, counted(text.length));
    expect(held(first)).toBe(digests(first).length);
    const other = asks(rules, says('user', 'other '.repeat(30)));
    evaluate(`${render(other.messages)}<|assistant|>`);
    const before = held(other);
    await exact.saw({ path, body: other }, counted(1));
    expect([held(other), doubts]).toEqual([before, []]);
  });

  test('the turn after is claimed with the answer', async () => {
    const { exact, evaluate, held, digests } = model(true);
    const reply = says('assistant', 'answer '.repeat(30));
    const next = asks(...(first.messages as JsonRecord[]), reply, says('user', 'more'));
    evaluate(`${text}${String(reply.content)}`);
    await exact.saw({ path, body: first, reply }, counted(text.length));
    expect(held(next)).toBeGreaterThan(digests(first).length);
  });

  test('nothing more is rendered once they are doubted, which is said once', async () => {
    const { exact, evaluate, held, doubts, rendered } = model(true);
    evaluate(text);
    await exact.saw({ path, body: first }, counted(7));
    await exact.saw({ path, body: first }, counted(text.length));
    expect([held(first), rendered.length]).toEqual([0, 1]);
    expect(doubts).toEqual([`the engine counts 7 tokens in a prompt in which we count ${text.length}`]);
  });

  test('they are doubted as well when the engine says so, or names none of their blocks', async () => {
    const refuted = model(true);
    refuted.way.show = () => Promise.reject(new Disagrees('/tokenize gives 3 tokens'));
    await refuted.exact.saw({ path, body: first }, counted(text.length));
    expect(refuted.doubts).toEqual(['/tokenize gives 3 tokens']);
    const silent = model(true);
    for (let times = 0; times <= unmatchedMax; times += 1) {
      await silent.exact.saw({ path, body: first }, counted(text.length));
      silent.time.ms += tellMsMax;
    }
    expect(silent.doubts).toEqual([expect.stringMatching(/named no block/)]);
  });
});
