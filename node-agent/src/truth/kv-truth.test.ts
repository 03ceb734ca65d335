import { utf8 } from '@cognitora/protocol/bytes';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { parseKvDelta, parseKvFeed, parseKvSnapshot } from '@cognitora/protocol/kv';
import { kvDeltaMs } from '@cognitora/protocol/limits';
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { expect, onTestFinished, test } from 'vitest';
import { answerJson, bodyOf, engineAt, serveHttp } from '../../testing/http-engine.ts';
import { openOf } from '../../testing/scripted-edge.ts';
import type { Engine } from '../engines/engine.ts';
import { ServedRequest } from '../serve.ts';
import type { KvLink } from './kv-feeds.ts';
import { KvTruth } from './kv-truth.ts';

const clock = { wallMs: () => 0, monotonicMs: () => 0 };
const terms = { salt: 'pepper', blockBytes: 64 };
const text = 'word '.repeat(100);

/** An engine that shows its prompts and answers with one sentence; it can be killed and put in its place again. */
const host = async () => {
  const state = { isLoading: false };
  const url = await serveHttp(async (request, response) => {
    if (state.isLoading) return answerJson(response, {}, 503);
    if (request.url === '/v1/models') return answerJson(response, { data: [{ id: 'm' }] });
    const body = jsonRecordIn(await bodyOf(request)) ?? {};
    if (request.url === '/apply-template') {
      const messages = Array.isArray(body.messages) ? body.messages.filter(isRecord) : [];
      const prompt = messages.map(({ role, content }) => `<${role}>${content ?? ''}\n`).join('');
      return answerJson(response, { prompt: `${prompt}<assistant>` });
    }
    if (request.url !== '/v1/chat/completions') return answerJson(response, {}, 404);
    answerJson(response, { role: 'assistant', content: text });
  });
  const said: string[] = [];
  const engine: Engine = engineAt(url, {
    onChange: () => {
      truth.changed(engine);
      said.push(`report ${engine.report.state}`);
    },
  });
  const truth: KvTruth = new KvTruth({
    clock,
    log: () => {},
    readReply: (bytes) => jsonRecordIn(Buffer.from(bytes).toString()),
    engines: new Map([['r0' as ReplicaName, engine]]),
    events: new Map(),
    tokenizers: new Map(),
  });
  onTestFinished(() => truth.stop());
  engine.start();
  const link = (): KvLink => ({
    kv: (frame, payload) => {
      if (frame === 'kvfeed') said.push(`feed ${parseKvFeed(payload).trust}`);
      if (frame === 'kvsnapshot')
        said.push(`snapshot of ${parseKvSnapshot(payload).blocks[0]?.digests.length}`);
      if (frame !== 'kvdelta') return;
      const { isCleared, added } = parseKvDelta(payload);
      said.push(isCleared ? 'cleared' : `added ${added[0]?.digests.length}`);
    },
  });
  const until = async (what: string): Promise<void> => {
    while (!said.some((line) => line.startsWith(what)))
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const ask = (): void => {
    const bytes = utf8(JSON.stringify({ model: 'm', messages: [{ role: 'user', content: text }] }));
    const open = openOf(bytes.length, { stream: false });
    const reply = { head: () => {}, data: () => true, end: () => {}, fail: () => {}, consumed: () => {} };
    const model = { served: 'm', volunteered: undefined };
    const watch = truth.watch(open);
    new ServedRequest({ engine, model, open, reply, clock, onOver: () => {}, watch }).body(bytes, true);
  };
  return { truth, engine, said, state, link, until, ask };
};

test('what an engine computed is told, with the turn after, and taken back before it is said to fail', async () => {
  const { truth, said, state, link, until, ask } = await host();
  truth.linked(link(), terms);
  await until('feed approximate');
  said.length = 0;
  ask();
  await until('added');
  await new Promise((resolve) => setTimeout(resolve, 2 * kvDeltaMs));
  const digestWords = said
    .map((line) => Number(line.replace('added ', '')))
    .reduce((sum, words) => sum + words, 0);
  // The prompt, and as much again for the answer.
  expect(digestWords / 2).toBeGreaterThanOrEqual(Math.floor((2 * text.length) / terms.blockBytes));
  said.length = 0;
  state.isLoading = true;
  await until('report');
  expect(said).toEqual(['cleared', 'report failed']);
});

test('another link hears all feeds anew, and only who asks there gets snapshots', async () => {
  const { truth, said, link, until, ask } = await host();
  const [old, other] = [link(), link()];
  truth.linked(old, terms);
  await until('feed approximate');
  ask();
  await until('added');
  truth.linked(other, terms);
  truth.unlinked(old);
  said.length = 0;
  truth.wanted(old, { feed: 0, request: 1 });
  expect(said).toEqual([]);
  truth.wanted(other, { feed: 0, request: 1 });
  expect(said.at(-1)).toMatch(/^snapshot of [1-9]/);
});

test('an edge without terms hears nothing; one with other terms hears of an empty ledger', async () => {
  const { truth, said, link, until, ask, engine } = await host();
  await until('report ready');
  truth.linked(link(), undefined);
  expect(truth.watch(openOf(9))).toBeUndefined();
  truth.linked(link(), terms);
  await until('feed approximate');
  ask();
  await until('added');
  truth.linked(link(), { ...terms, salt: 'sugar' });
  said.length = 0;
  await until('feed approximate');
  truth.changed(engine);
  const latest = link();
  truth.linked(latest, { ...terms, salt: 'sugar' });
  truth.wanted(latest, { feed: 0, request: 1 });
  expect(said.at(-1)).toBe('snapshot of undefined');
});
