/**
 * What real engines said, through the edge: byte for byte where nothing is edited; where the usage edit is, what the
 * same engine said to the request without it. Recordings of two runs differ in ids and times, so those are left out
 * there.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bodyOf } from '../fakes/raw-http.ts';
import { RecordedEngine, type Recording, recordedEngines, recordingsOf } from '../fakes/recorded.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, type RawAnswer, send } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';

const publicName = 'org/Public';

/** Ids, times and durations belong to a run, not to what an engine says. */
const anyRun = (body: Buffer): string[] =>
  body
    .toString()
    .replaceAll(/"id":"[^"]*"/g, '"id":""')
    .replaceAll(/"created":\d+/g, '"created":0')
    .replaceAll(/"((?:prompt|predicted)_(?:ms|per_token_ms|per_second))":[\d.e+-]+/g, '"$1":0')
    .split('\n\n')
    // The events of several choices come in any order.
    .sort();

/**
 * A gap that the recordings showed: without `include_usage` vLLM 0.32 writes `system_fingerprint` into the event that
 * ends a choice, with it into the usage event, and that event the edit takes away again.
 */
const withoutFingerprint = (body: Buffer): Buffer =>
  Buffer.from(body.toString().replaceAll(/,"system_fingerprint":"vllm[^"]*"/g, ''));

const renamed = (text: string, served: string): string =>
  text.replaceAll(`"model":"${served}"`, `"model":"${publicName}"`);

const hasUsageEdit = (recording: Recording, engineGot: string): boolean =>
  !recording.body.includes('include_usage') && engineGot.includes('"include_usage":true');

describe('the recordings', () => {
  test('are of llama-server and vLLM, each with what it answers', () => {
    expect(recordedEngines).toEqual(['llama-server', 'vllm']);
    for (const engine of recordedEngines) {
      const names = recordingsOf(engine).map(({ name }) => name);
      for (const plain of ['chat', 'chat-stream', 'chat-stream-usage', 'completion-stream', 'embedding']) {
        expect(names).toContain(plain);
      }
      expect(names.filter((name) => name.startsWith('error-')).length).toBeGreaterThan(1);
    }
  });
});

describe.each(layouts.flatMap((layout) => recordedEngines.map((name) => ({ layout, name }))))(
  'the recorded $name, layout $layout',
  ({ layout, name }) => {
    const recordings = recordingsOf(name);
    const served = String(JSON.parse(recordings[0]?.body ?? '').model);
    let engine: RecordedEngine;
    beforeAll(async () => {
      engine = await new RecordedEngine(name).start();
    });
    afterAll(() => engine.stop());
    const fixture = useCluster(() => ({
      layout,
      agents: [
        { name: 'plain', engines: [engine.url] },
        { name: 'aliased', engines: [engine.url], aliases: { [publicName]: served } },
      ],
    }));

    interface Played {
      readonly answer: RawAnswer;
      readonly got: string;
      /** What the engine was recorded to say to the client's own request. */
      readonly expected: Recording;
    }

    const ask = async (recording: Recording, body: string): Promise<Played> => {
      const id = freshId();
      const headers = {
        'content-type': 'application/json',
        authorization: `Bearer ${fixture.cluster.apiKey}`,
        'x-request-id': id,
      };
      const answer = await send(fixture.cluster.url + recording.path, { body, headers });
      const got = engine.received.find(({ requestId }) => requestId === id)?.body ?? '';
      return { answer, got, expected: recording };
    };

    /** Status and type are the recorded ones; so are the bytes, as far as one run can be compared. */
    const expectAsRecorded = ({ answer, got, expected }: Played, rename: (text: string) => string): void => {
      const head = expected.answer.toString('latin1', 0, 1_000);
      expect(answer.status).toBe(Number(head.split(' ')[1]));
      expect(answer.headers['content-type']).toBe(/\r\ncontent-type: *([^\r]*)/i.exec(head)?.[1]);
      const wanted = Buffer.from(rename(bodyOf(expected.answer).toString()));
      if (hasUsageEdit(expected, got)) {
        expect(anyRun(answer.body)).toEqual(anyRun(withoutFingerprint(wanted)));
      } else expect(answer.body.toString()).toBe(wanted.toString());
      expect(answer.isWhole).toBe(true);
    };

    test.each(recordings)('$name', async (recording) => {
      const played = await ask(recording, recording.body);
      expectAsRecorded(played, (text) => text);
      if (!hasUsageEdit(recording, played.got)) expect(played.got).toBe(recording.body);
    });

    if (name === 'vllm') {
      test('the gap above: the usage edit loses the fingerprint', async () => {
        const recording = recordings.find((one) => one.name === 'chat-stream') as Recording;
        expect(bodyOf(recording.answer).toString()).toContain('"system_fingerprint"');
        const { answer } = await ask(recording, recording.body);
        expect(answer.body.toString()).not.toContain('"system_fingerprint"');
      });
    }

    test.each(recordings)('$name, under a public name', async (recording) => {
      const body = recording.body.replace(`"model":"${served}"`, `"model":"${publicName}"`);
      expectAsRecorded(await ask(recording, body), (text) => renamed(text, served));
    });
  },
);
