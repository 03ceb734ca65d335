import { isRecord } from '@cognitora/protocol/shape';
import { expect, onTestFinished, test } from 'vitest';
import { constructedPolls } from '../../../testing/kv-fixtures.ts';
import type { Answer, Ask } from '../../engines/ask.ts';
import { pollSource } from './poll-source.ts';
import { decodePolledEvents } from './polled-events.ts';
import { RankBlocks } from './rank-blocks.ts';
import { tokenChain } from './token-blocks.ts';

const polls = constructedPolls();
const run = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);
const first = run(1_000, 64);

/** An engine that answers with these one after the other, then with nothing. */
const heardOf = async (answers: readonly (readonly unknown[] | 'failure')[]) => {
  const blocks = new RankBlocks();
  const asked: string[] = [];
  const pauses: number[] = [];
  let clears = 0;
  const over = Promise.withResolvers<void>();
  const left = [...answers];
  const ask: Ask = async (path, body): Promise<Answer> => {
    asked.push(`${body === undefined ? 'GET' : 'POST'} ${path}`);
    const answer = left.shift();
    if (answer === 'failure') throw new Error('refused');
    return { status: 200, text: JSON.stringify(answer ?? []), record: undefined };
  };
  const pause = async (ms: number): Promise<void> => {
    pauses.push(ms);
    if (left.length > 0) return;
    source.close();
    over.resolve();
  };
  const source = pollSource({ ask, path: '/kv_cache_events', pause, log: () => {} });
  onTestFinished(() => source.close());
  source.follow((events, rank) => {
    if (blocks.apply(events, rank).isCleared) clears += 1;
  });
  await over.promise;
  const held = (tokens: readonly number[]): number =>
    [...tokenChain(tokens, 32)].filter((digest) => blocks.holds(digest)).length;
  return { held, asked, pauses, clears: () => clears };
};

test.each([
  ['stored', 2],
  ['stored in part', 2],
  ['removed', 1],
  ['offloaded', 1],
  ['brought back', 2],
  ['gap', 0],
  ['restart', 0],
  ['adapter or image', 0],
])('blocks that are %s', async (name, blocks) => {
  const heard = await heardOf(polls[name] ?? []);
  expect(heard.held(first)).toBe(blocks);
  expect(heard.clears()).toBe(['gap', 'restart'].includes(name) ? 1 : 0);
});

test('it is asked by POST, again after each answer, and less often while it does not answer', async () => {
  const { asked, pauses } = await heardOf([[], 'failure', 'failure', []]);
  expect(new Set(asked)).toEqual(new Set(['POST /kv_cache_events']));
  expect(pauses).toEqual([200, 400, 800, 200]);
});

test('what is no list of events says nothing', () => {
  for (const answer of [undefined, {}, 'x']) expect(decodePolledEvents(answer)).toBeUndefined();
  const odd = [7, { event_id: 'x' }, { event_id: 1, data: { type: 'stored', blocks: [{ tokens: 3 }] } }];
  expect(decodePolledEvents(odd)?.filter(isRecord)).toEqual([{ id: 1, rank: 0, events: [] }]);
});

test('what was asked of an engine before a reset says nothing of the one after it', async () => {
  const answered = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  let questions = 0;
  const ask: Ask = async () => {
    questions += 1;
    if (questions === 1) await answered.promise;
    const text = JSON.stringify([{ event_id: 0, data: { type: 'removed', block_hashes: [questions] } }]);
    return { status: 200, text, record: undefined };
  };
  const pause = async (): Promise<void> => {
    if (questions === 2) {
      source.close();
      over.resolve();
    }
  };
  const source = pollSource({ ask, path: '/kv_cache_events', pause, log: () => {} });
  const heard: string[] = [];
  source.follow((events) =>
    heard.push(...events.map((event) => ('names' in event ? event.names.join() : ''))),
  );
  source.reset();
  answered.resolve();
  await over.promise;
  expect(heard).toEqual(['2', '2']);
});
