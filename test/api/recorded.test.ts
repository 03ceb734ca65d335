/**
 * What real engines said, through the edge, byte for byte: where the usage edit is made, what the same engine said to
 * the request without it. That was another run, so its ids and times are replaced by those of the run that was played.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bodyOf } from '../fakes/raw-http.ts';
import { RecordedEngine, type Recording, recordedEngines, recordingsOf } from '../fakes/recorded.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, type RawAnswer, send } from '../harness/http.ts';
import { useCluster } from '../harness/use-cluster.ts';

const publicName = 'org/Public';

/** Ids, times and durations belong to a run, not to what an engine says. */
const ofRun = /"id":"[^"]*"|"created":\d+|"(?:prompt|predicted)_(?:ms|per_token_ms|per_second)":[\d.e+-]+/g;

const nameOf = (member: string): string => member.slice(0, member.indexOf(':'));

/** What was said in one run, with the ids, times and durations of another: the first for the first, and so on. */
const inRunOf = (said: string, other: string): string => {
  const others = Map.groupBy(other.match(ofRun) ?? [], nameOf);
  return said.replaceAll(ofRun, (member) => others.get(nameOf(member))?.shift() ?? '(no such one)');
};

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
      /** What the engine said to what it got. */
      readonly said: string;
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
      const received = engine.received.find(({ requestId }) => requestId === id);
      const played = recordings.find((one) => one.name === received?.played);
      const said = played === undefined ? '' : bodyOf(played.answer).toString();
      return { answer, got: received?.body ?? '', said, expected: recording };
    };

    /** Status and type are the recorded ones; so are the bytes. */
    const expectAsRecorded = (
      { answer, got, said, expected }: Played,
      rename: (text: string) => string,
    ): void => {
      const head = expected.answer.toString('latin1', 0, 1_000);
      expect(answer.status).toBe(Number(head.split(' ')[1]));
      expect(answer.headers['content-type']).toBe(/\r\ncontent-type: *([^\r]*)/i.exec(head)?.[1]);
      const recorded = bodyOf(expected.answer).toString();
      const wanted = rename(hasUsageEdit(expected, got) ? inRunOf(recorded, said) : recorded);
      expect(answer.body.toString()).toBe(wanted);
      expect(answer.body.equals(Buffer.from(wanted))).toBe(true);
      expect(answer.isWhole).toBe(true);
    };

    test.each(recordings)('$name', async (recording) => {
      const played = await ask(recording, recording.body);
      expectAsRecorded(played, (text) => text);
      if (!hasUsageEdit(recording, played.got)) expect(played.got).toBe(recording.body);
    });

    if (name === 'vllm') {
      test('two choices both end with the fingerprint, though usage was asked for', async () => {
        const recording = recordings.find((one) => one.name === 'chat-two-stream') as Recording;
        const { answer, got } = await ask(recording, recording.body);
        expect(hasUsageEdit(recording, got)).toBe(true);
        expect(answer.body.toString().split('"system_fingerprint":"vllm-0.32.0-')).toHaveLength(3);
      });
    }

    test.each(recordings)('$name, under a public name', async (recording) => {
      const body = recording.body.replace(`"model":"${served}"`, `"model":"${publicName}"`);
      expectAsRecorded(await ask(recording, body), (text) => renamed(text, served));
    });
  },
);
