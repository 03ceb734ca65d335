/** The agent's end of a link against an edge that frames rightly and speaks nonsense. */
import { joinBytes } from '@cognitora/protocol/bytes';
import { frameTypes } from '@cognitora/protocol/frame';
import type { OpenRequest, ResumeToken } from '@cognitora/protocol/link';
import { cuts, errorOf, pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import { greeting, noise, noiseTokens, plainFrames } from '@cognitora/protocol/testing/frame-noise';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { helloOf, openOf, ScriptedEdge } from '../../testing/scripted-edge.ts';
import { KeptStreams } from './kept-streams.ts';
import { AgentSession, type ServedStream, type StreamReply } from './session.ts';

/** What an engine does with a request: nothing, answer once it is whole, fail at once, or say much too early. */
const manners = ['mute', 'answers', 'fails', 'talks'] as const;
type Manner = (typeof manners)[number];

const record = { bodyBytes: 0, totalMs: 1 };

/** One request as it is served, with what became of it. */
class Served implements ServedStream {
  cancels = 0;
  isOver = false;
  isWhole = false;
  readonly #manner: Manner;
  readonly #reply: StreamReply;

  constructor(manner: Manner, reply: StreamReply) {
    this.#manner = manner;
    this.#reply = reply;
    if (manner === 'fails') this.#end(() => reply.fail({ code: 'replica_gone', message: 'x', record }));
    if (manner === 'talks') reply.data(new Uint8Array(3000));
  }

  body(bytes: Uint8Array, last: boolean): void {
    if (!this.isOver) expect([this.cancels, this.isWhole]).toEqual([0, false]);
    this.isWhole = last;
    this.#reply.consumed(bytes.length);
    if (!last || this.#manner !== 'answers') return;
    this.#reply.head({ status: 200, headers: [] });
    this.#reply.data(new Uint8Array(500));
    this.#end(() => this.#reply.end(record));
  }

  cancel(): void {
    this.cancels += 1;
  }

  drained(): void {}

  #end(say: () => void): void {
    if (!this.isOver && this.cancels === 0) say();
    this.isOver = true;
  }
}

const clock = { wallMs: () => 0, monotonicMs: () => 0 };

const keeping = (ways: readonly Manner[]) => {
  const served: Served[] = [];
  const serve = (_: OpenRequest, reply: StreamReply): ServedStream => {
    const one = new Served(ways[served.length % ways.length] ?? 'mute', reply);
    served.push(one);
    return one;
  };
  return { served, kept: new KeptStreams({ serve, clock }) };
};

const linked = (kept: KeptStreams) => {
  const edge = new ScriptedEdge();
  const session: AgentSession = new AgentSession(helloOf(), {
    welcome: () => {},
    goaway: () => {},
    ready: () => {},
    ackDue: (stream) => session.acknowledge(stream),
    serve: (open, reply) => kept.serve(open, reply),
    resume: (request) => kept.resume(request),
    kvWanted: () => {},
    kvFabric: () => {},
    kvHolders: () => {},
  });
  /** What it has to say is read, and so held to the protocol, at the other end. */
  const flush = (): void => {
    for (let message = session.take(); message !== undefined; message = session.take()) edge.hear(message);
  };
  return { edge, session, flush };
};

/** Claims all that the noise may have opened, over another link; returns how many are kept. */
const claimAll = (kept: KeptStreams): number => {
  const { edge, session, flush } = linked(kept);
  session.receive(edge.welcome());
  for (const [at, token] of noiseTokens.entries()) {
    session.receive(edge.resume(at + 1, token as ResumeToken, 0));
  }
  flush();
  session.close();
  expect(session.streams).toBe(0);
  return edge.heard.filter(({ type }) => type === frameTypes.ack).length;
};

const toAgent = noise(['open', 'body', 'cancel', 'credit', 'kvwant', 'resume']);

test('any frames give requests or a protocol error, and every request ends just once', () => {
  const reached = { whole: 0, refused: 0, answered: 0, cancelled: 0, resumed: 0 };
  fc.assert(
    fc.property(
      greeting('welcome'),
      toAgent,
      fc.nat(3),
      fc.array(fc.constantFrom(...manners), { minLength: 1, maxLength: 4 }),
      cuts,
      (first, others, live, ways, at) => {
        const { served, kept } = keeping(ways);
        const { edge, session, flush } = linked(kept);
        const isGreeted = first === undefined;
        const frames = isGreeted ? others : [first, ...others];
        if (isGreeted) session.receive(edge.welcome());
        for (let stream = 1; isGreeted && stream <= live; stream += 1) {
          session.receive(edge.open(stream, openOf(1000), new Uint8Array(), false));
        }
        const bytes = plainFrames(frames).map((frame) =>
          edge.frame(frame.type, frame.stream, frame.payload, frame.flags),
        );
        let code: string | undefined;
        for (const piece of pieces(joinBytes(bytes), at)) {
          code = errorOf(() => session.receive(piece))?.code;
          flush();
          if (code !== undefined) break;
        }
        expect([undefined, 'protocol_error']).toContain(code);
        reached[code === undefined ? 'whole' : 'refused'] += 1;
        session.close();
        expect(session.streams).toBe(0);
        reached.resumed += claimAll(kept);
        kept.stop();
        reached.answered += served.filter(({ isOver }) => isOver).length;
        reached.cancelled += served.filter(({ cancels }) => cancels > 0).length;
        for (const { cancels, isOver } of served) expect(cancels).toBe(isOver ? 0 : 1);
      },
    ),
    { numRuns: 1000 },
  );
  // Noise that dies in its first frame would show nothing.
  const least = Math.min(
    reached.whole,
    reached.refused,
    reached.answered,
    reached.cancelled,
    reached.resumed,
  );
  expect(least).toBeGreaterThan(50);
});
