/** The edge's end of a link against an agent that frames rightly and speaks nonsense. */
import { joinBytes } from '@cognitora/protocol/bytes';
import { cuts, errorOf, pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import { greeting, noise, plainFrames } from '@cognitora/protocol/testing/frame-noise';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newIntake } from '../../testing/intakes.ts';
import { requestOf, ScriptedAgent, welcomeOf } from '../../testing/scripted-agent.ts';
import { EdgeLink, type StreamHandler } from './edge-link.ts';

/** Writes down what it hears, in a word each. */
const listener = () => {
  const heard: string[] = [];
  const note = (word: string) => () => void heard.push(word);
  const handler: StreamHandler = {
    acknowledged: note('ack'),
    head: note('head'),
    data: note('data'),
    end: note('end'),
    fail: note('fail'),
    settled: note('settled'),
  };
  return { heard, handler };
};

const linked = () => {
  const agent = new ScriptedAgent();
  const link: EdgeLink = new EdgeLink(
    {
      bytes: (message) => agent.hear(message),
      hello: (hello) => link.welcome(hello, welcomeOf()),
      replicas: () => {},
      kv: () => {},
      telemetry: () => {},
      goaway: () => {},
    },
    newIntake(),
  );
  return { agent, link };
};

const toEdge = noise(['ack', 'head', 'data', 'end', 'fail', 'credit']);
/** Of each live stream: whether its request's body went out whole. */
const live = fc.array(fc.boolean(), { maxLength: 3 });

test('any frames give calls or a protocol error, and every stream hears of its end just once', async () => {
  const reached = { whole: 0, refused: 0, ended: 0 };
  await fc.assert(
    fc.asyncProperty(greeting('hello'), toEdge, live, cuts, async (first, others, wholes, at) => {
      const { agent, link } = linked();
      if (first === undefined) link.receive(agent.hello());
      const frames = first === undefined ? others : [first, ...others];
      const listeners = (first === undefined ? wholes : []).map((isWhole) => {
        const one = listener();
        const id = link.open(requestOf(40), new Uint8Array(isWhole ? 40 : 0), isWhole, one.handler);
        if (!isWhole) void link.write(id, new Uint8Array(40));
        return one;
      });
      const bytes = plainFrames(frames).map((frame) =>
        agent.frame(frame.type, frame.stream, frame.payload, frame.flags),
      );
      let code: string | undefined;
      for (const piece of pieces(joinBytes(bytes), at)) {
        code = errorOf(() => link.receive(piece))?.code;
        // What it has to say goes out here: its frames are read, and so held to the protocol, at the other end.
        await Promise.resolve();
        if (code !== undefined) break;
      }
      expect([undefined, 'protocol_error']).toContain(code);
      reached[code === undefined ? 'whole' : 'refused'] += 1;
      reached.ended += listeners.filter(({ heard }) => heard.includes('end')).length;
      link.close('over');
      expect(link.streams).toBe(0);
      for (const { heard } of listeners) {
        const end = heard.findIndex((word) => word === 'end' || word === 'fail');
        expect([end >= 0, ...heard.slice(end + 1)]).toEqual([true, 'settled']);
      }
    }),
    { numRuns: 1000 },
  );
  // Noise that dies in its first frame would show nothing.
  expect(Math.min(reached.whole, reached.refused, reached.ended)).toBeGreaterThan(50);
});
