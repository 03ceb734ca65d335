import { utf8 } from '@cognitora/protocol/bytes';
import { extendByReply, prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { expect, test } from 'vitest';
import type { CacheModel } from './cache-model.ts';
import { type Digest, digestsOf, KvLedger } from './kv-ledger.ts';
import { PagedCache } from './paged-cache.ts';
import { keptBytesMax, ServedPrompt, type ServedPromptOptions } from './served-prompt.ts';
import { SlotCache } from './slot-cache.ts';

const path = '/v1/chat/completions';
const root = rootKey({ salt: 's', model: 'm', profile: plainProfile });
const chain = { root, profile: plainProfile, blockBytes: 64, blocksMax: 2048 };
const says = (role: string, content: string): JsonRecord => ({ role, content });
const asks = (...messages: JsonRecord[]): JsonRecord => ({ model: 'm', messages });
const text = (word: string): string => `${word} `.repeat(60);
const digestsFor = (body: JsonRecord): BigUint64Array =>
  digestsOf(prefixChain({ path, body }, chain).digests);

/** A replica's cache, and requests that are served from it; what waits for a quiet moment waits for `quiet`. */
const replica = (cache: CacheModel = new PagedCache(1e6, 16), ledger = new KvLedger()) => {
  const waiting: (() => void)[] = [];
  const state = { isOver: false, changes: 0 };
  const keeping = {
    bytes: 0,
    later: (run: () => void) => void waiting.push(run),
    readReply: (bytes: Uint8Array) => jsonRecordIn(Buffer.from(bytes).toString()),
  };
  const quiet = (): void => {
    for (const run of waiting.splice(0)) run();
  };
  const start = (body: JsonRecord, more: Partial<ServedPromptOptions> = {}): ServedPrompt => {
    const bytes = utf8(JSON.stringify(body));
    const prompt = new ServedPrompt({
      keeping,
      path,
      isStream: false,
      bodyBytes: bytes.length,
      chain,
      cache,
      ledger,
      isOver: () => state.isOver,
      onChange: () => {
        state.changes += 1;
      },
      ...more,
    });
    prompt.body(bytes.subarray(0, 9), false);
    prompt.body(bytes.subarray(9), true);
    return prompt;
  };
  const held = (body: JsonRecord): number => ledger.heldOf(digestsFor(body));
  return { ledger, keeping, quiet, start, held, state };
};

const first = asks(says('system', text('rules')), says('user', text('question')));
const reply = says('assistant', text('answer'));
const turnAfter = asks(
  says('system', text('rules')),
  says('user', text('question')),
  reply,
  says('user', 'x'),
);

test('a prompt is cached with the first byte of its answer, and not before', () => {
  const { start, quiet, held, state } = replica();
  const prompt = start(first);
  quiet();
  prompt.head(200);
  expect([held(first), state.changes]).toEqual([0, 0]);
  prompt.data(utf8('{'));
  quiet();
  expect([held(first), state.changes]).toEqual([digestsFor(first).length, 1]);
});

test('with a clean end the turn after is cached too, once nobody waits', () => {
  const { start, quiet, held, keeping } = replica();
  const prompt = start(first);
  quiet();
  const bytes = utf8(JSON.stringify(reply));
  prompt.data(bytes.subarray(0, 20));
  prompt.data(bytes.subarray(20));
  quiet();
  expect(held(turnAfter)).toBe(digestsFor(first).length);
  prompt.ended(true, undefined);
  quiet();
  const after = extendByReply(prefixChain({ path, body: first }, chain), { path, body: first, reply }, chain);
  expect(held(turnAfter)).toBe(after.digests.length / 2);
  expect(after.digests.length / 2).toBeGreaterThan(digestsFor(first).length);
  expect(keeping.bytes).toBe(0);
});

test('the rest of an answer makes one message of the turn after with the part that its request ends with', () => {
  const { start, quiet, held } = replica();
  const told: unknown[] = [];
  const part = says('assistant', text('answer').slice(0, 150));
  const rest = says('assistant', text('answer').slice(150));
  const continued = asks(...(first.messages as JsonRecord[]), part);
  const onPrompt: ServedPromptOptions['onPrompt'] = (request, usage) => told.push([request, usage]);
  const prompt = start(continued, { isContinued: true, onPrompt });
  prompt.data(utf8(JSON.stringify(rest)));
  quiet();
  expect([held(continued), told]).toEqual([digestsFor(continued).length, []]);
  prompt.ended(true, { promptTokens: 90, completionTokens: 1 });
  quiet();
  const after = extendByReply(prefixChain({ path, body: first }, chain), { path, body: first, reply }, chain);
  expect(held(turnAfter)).toBe(after.digests.length / 2);
  // The engine's count is of a prompt with a part of the answer in it: whoever renders this one must not compare.
  expect(told).toEqual([[{ path, body: first, reply }, undefined]]);
});

test('the rest of an answer that nobody can read leaves the prompt', () => {
  const { start, quiet, held } = replica();
  const continued = asks(...(first.messages as JsonRecord[]), says('assistant', text('answer')));
  const prompt = start(continued, { isContinued: true });
  prompt.data(utf8('no JSON'));
  prompt.ended(true, undefined);
  quiet();
  expect(held(continued)).toBe(digestsFor(continued).length);
});

test('an answer that broke off, or that nobody can read, leaves the prompt', () => {
  const { start, quiet, held, keeping } = replica();
  const broken = start(first);
  broken.data(utf8(JSON.stringify(reply)));
  broken.ended(false, undefined);
  const garbled = start(first);
  garbled.data(utf8('no JSON'));
  garbled.ended(true, undefined);
  quiet();
  expect(held(turnAfter)).toBe(digestsFor(first).length);
  expect(keeping.bytes).toBe(0);
});

test('errors, requests that never had a first byte, and engines that are gone leave nothing', () => {
  const { start, quiet, ledger, keeping, state } = replica();
  const refused = start(first);
  refused.head(400);
  refused.data(utf8('{"error":{}}'));
  refused.ended(true, undefined);
  start(first).ended(false, undefined);
  const [early, late] = [start(first), start(first)];
  late.data(utf8(JSON.stringify(reply)));
  quiet();
  ledger.clear();
  state.isOver = true;
  early.data(utf8('{'));
  for (const prompt of [early, late]) prompt.ended(true, { promptTokens: 9, completionTokens: 1 });
  quiet();
  expect([ledger.size, keeping.bytes]).toEqual([0, 0]);
});

test('a body that is too large, or that is no JSON, takes a slot without a name', () => {
  const { start, quiet, ledger, keeping } = replica(new SlotCache(1));
  const serve = (body: JsonRecord, more: Partial<ServedPromptOptions> = {}): void => {
    const prompt = start(body, more);
    quiet();
    prompt.data(utf8('{'));
    prompt.ended(true, undefined);
    quiet();
  };
  for (const more of [{ bodyBytes: 3e6 }, { keeping: { ...keeping, bytes: keptBytesMax } }]) {
    serve(first);
    expect(ledger.size).toBe(digestsFor(first).length);
    serve(turnAfter, more);
    expect(ledger.size).toBe(0);
  }
});

test('an answer that is too long is not kept, nor is its body', () => {
  const { start, quiet, held, keeping } = replica();
  const prompt = start(first);
  quiet();
  for (let part = 0; part < 5; part += 1) prompt.data(new Uint8Array(1024 * 1024));
  expect(keeping.bytes).toBe(0);
  prompt.ended(true, undefined);
  quiet();
  expect(held(first)).toBe(digestsFor(first).length);
});

test('an engine that had less than the ledger said: what stands on that is gone, but for the prompt itself', () => {
  const { start, quiet, held } = replica();
  const sibling = asks(says('system', text('rules')), says('user', text('another question')));
  for (const body of [first, sibling]) start(body).data(utf8('{'));
  quiet();
  const shared = digestsFor(first).filter((digest: Digest) => digestsFor(sibling).includes(digest)).length;
  const again = (cachedTokens: number): void => {
    const prompt = start(first);
    quiet();
    prompt.data(utf8('{'));
    prompt.ended(true, { promptTokens: 1000, completionTokens: 1, cachedTokens });
    quiet();
  };
  again(990);
  expect(held(sibling)).toBe(digestsFor(sibling).length);
  again(0);
  expect([held(first), held(sibling)]).toEqual([digestsFor(first).length, shared]);
});

test('what a block is in tokens is learned from prompts', () => {
  const learned: number[] = [];
  const cache = new PagedCache(1e6, 16);
  cache.learn = (tokens) => learned.push(tokens);
  const { start, quiet } = replica(cache);
  const prompt = start(first);
  quiet();
  prompt.data(utf8('{'));
  prompt.ended(true, { promptTokens: 200, completionTokens: 1 });
  quiet();
  const { digests, tail } = prefixChain({ path, body: first }, chain);
  expect(learned).toEqual([200 / (digests.length / 2 + tail.length / 64)]);
});
