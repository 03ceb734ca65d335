import type { ReplicaStatus } from '@cognitora/protocol/agent-status';
import { expect, test } from 'vitest';
import { keeperLineIn } from './keeper-lines.ts';
import { replicaWords, StageClock, stageOf, timesInWords, whyGivenUp } from './stages.ts';

type Launch = Partial<NonNullable<ReplicaStatus['launch']>>;

const replica = (launch: Launch, more: Partial<ReplicaStatus> = {}): ReplicaStatus =>
  ({
    ...{ name: 'r0', state: 'loading', models: [] },
    launch: { state: 'loading', restarts: 0, lastLines: [], logPath: '/log', ...launch },
    ...more,
  }) as unknown as ReplicaStatus;
const still = { beforeBytes: 5, nowBytes: 5, wantedBytes: 10_000_000 };
const growing = { beforeBytes: 5, nowBytes: 2_000_000, wantedBytes: 10_000_000 };

test.each<[says: string, of: ReplicaStatus, growth: typeof still, stage: string, words: string]>([
  ['before its process', replica({ state: 'starting' }), still, 'start', 'starting'],
  ['while its model grows on the disk', replica({}), growing, 'download', 'downloading, 2.0 MB of 10 MB'],
  [
    'once that is still',
    replica({ lastLines: ['Loading 50 %', '[agent] x'] }),
    still,
    'load',
    'loading: Loading 50 %',
  ],
  [
    'that told programs last',
    replica({
      lastLines: ['{"event":"load","message":"loading /m"}', '{"event":"listening","url":"http://e"}'],
    }),
    still,
    'load',
    'loading: loading /m',
  ],
  ['without a word of its own', replica({ lastLines: ['[agent] started'] }), still, 'load', 'loading'],
  ['ready without a model', replica({}, { state: 'ready' }), still, 'load', 'loading'],
  ['ready', replica({}, { state: 'ready', models: ['m'] }), still, 'answer', 'ready'],
])('a replica %s', (_, of, growth, stage, words) => {
  expect(stageOf(of, growth)).toBe(stage);
  expect(replicaWords(of, growth)).toBe(words);
});

test('an engine that ended twice, or was given up, says its last lines', () => {
  expect(whyGivenUp(replica({ state: 'backing-off' }))).toBeUndefined();
  expect(whyGivenUp(replica({ state: 'loading', restarts: 3 }))).toBeUndefined();
  for (const launch of [{ state: 'gave-up' }, { state: 'backing-off', restarts: 1 }] as const) {
    const lastLines = ['{"event":"listening","url":"http://e"}', 'out of memory'];
    expect(whyGivenUp(replica({ ...launch, lastLines }))).toBe(
      'The engine r0 could not be kept running:\n  out of memory\n/log has more.',
    );
  }
});

test('each stage has its time, also one that comes again', () => {
  const clock = new StageClock('start', 1_000);
  clock.enter('download', 1_500);
  clock.enter('load', 4_500);
  clock.enter('download', 5_000);
  expect(clock.times(6_000)).toEqual({ start: 500, download: 4_000, load: 500 });
  expect(timesInWords({ load: 2_040, check: 300, answer: 0 })).toBe('2.3 s: check 0.3, load 2.0');
});

test('what a keeper says is read back; what it does not say is nothing', () => {
  const served = {
    edge: 'http://e',
    times: { load: 3 },
    own: { apiKey: 'k', model: 'm', path: '/p', example: {} },
  };
  const lines = [
    { event: 'step', step: 'r0', text: 'loading' },
    { event: 'failed', message: 'why' },
    { event: 'served', served },
  ];
  for (const line of lines) expect(keeperLineIn(JSON.stringify(line))).toEqual(line);
  for (const line of ['', 'x', '{"event":"step"}', '{"event":"served","served":{}}', '{"event":"other"}']) {
    expect(keeperLineIn(line)).toBeUndefined();
  }
});
