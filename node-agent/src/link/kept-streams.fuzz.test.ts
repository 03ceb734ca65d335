/**
 * Answers whose links are cut anywhere, claimed from wherever the edge was: joined at its end they are the undisturbed
 * bytes, each once, and each answer ends once. The sessions are the real ones; what a cut link had under way is lost.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { decodeBody, frameTypes } from '@cognitora/protocol/frame';
import { agentQueuedBytesMax, edgeStreamWindowBytes, replayStreamBytesMax } from '@cognitora/protocol/limits';
import type { ResumeToken } from '@cognitora/protocol/link';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { helloOf, openOf, ScriptedEdge } from '../../testing/scripted-edge.ts';
import { KeptStreams } from './kept-streams.ts';
import { AgentSession, type StreamReply } from './session.ts';

const pattern = Uint8Array.from({ length: 2_000_000 }, (_, at) => at * 31 + (at >> 8));

interface Plan {
  readonly bytes: number;
  readonly chunkBytes: number;
  readonly hasHead: boolean;
  readonly howItEnds: 'end' | 'fail';
}

/** One request: what its engine has said, and what its reader has. */
class Answer {
  readonly plan: Plan;
  readonly token: ResumeToken;
  reply: StreamReply | undefined;
  serves = 0;
  produced = 0;
  isPaused = false;
  isSaid = false;
  cancels = 0;
  /** The number of its stream on the link of now. */
  id = 0;
  received = 0;
  unread = 0;
  heads = 0;
  ends: string[] = [];

  constructor(plan: Plan, index: number) {
    this.plan = plan;
    this.token = String(index).padStart(32, '0') as ResumeToken;
  }

  produce(): boolean {
    const { reply, plan } = this;
    if (reply === undefined || this.isPaused || this.isSaid) return false;
    if (this.produced === 0 && plan.hasHead) reply.head({ status: 200, headers: [] });
    const bytes = Math.min(plan.chunkBytes, plan.bytes - this.produced);
    if (bytes > 0) {
      this.isPaused = !reply.data(pattern.subarray(this.produced, this.produced + bytes));
      this.produced += bytes;
      return true;
    }
    this.isSaid = true;
    const record = { bodyBytes: this.produced, totalMs: 1 };
    if (plan.howItEnds === 'end') reply.end(record);
    else reply.fail({ code: 'engine_broke_off', message: 'x', record });
    return true;
  }
}

class World {
  readonly answers: Answer[];
  readonly #kept: KeptStreams;
  #edge = new ScriptedEdge();
  #session: AgentSession | undefined;
  /** Messages that the agent sent and the edge has not heard. */
  #underWay: Uint8Array[] = [];
  #nextId = 1;
  cuts = 0;
  moves = 0;

  constructor(plans: readonly Plan[]) {
    this.answers = plans.map((plan, index) => new Answer(plan, index));
    this.#kept = new KeptStreams({
      serve: ({ requestId }, reply) => {
        const answer = this.answers[Number(requestId)] as Answer;
        answer.reply = reply;
        answer.serves += 1;
        return {
          body: (bytes) => reply.consumed(bytes.length),
          cancel: () => {
            answer.cancels += 1;
          },
          drained: () => {
            answer.isPaused = false;
          },
        };
      },
      clock: { wallMs: () => 0, monotonicMs: () => 0 },
    });
    this.#dial();
    const body = utf8('hello');
    for (const [index, answer] of this.answers.entries()) {
      answer.id = this.#nextId++;
      const open = openOf(body.length, { requestId: String(index) as never, resume: answer.token });
      this.#session?.receive(this.#edge.open(answer.id, open, body, true));
    }
  }

  #dial(): void {
    this.#edge = new ScriptedEdge();
    this.#underWay = [];
    this.#nextId = 1;
    this.#session = new AgentSession(helloOf(), {
      welcome: () => this.#kept.linked(),
      ...{ goaway: () => {}, ready: () => {}, ackDue: () => {} },
      serve: (open, reply) => this.#kept.serve(open, reply),
      resume: (request) => this.#kept.resume(request),
      ...{ kvWanted: () => {}, kvFabric: () => {}, kvHolders: () => {} },
    });
    const windows = { streamWindowBytes: edgeStreamWindowBytes, linkWindowBytes: 1_048_576 };
    this.#session.receive(this.#edge.welcome(windows));
  }

  /** The link is gone for both ends, or first for the edge alone. */
  cut(isNoticed: boolean): boolean {
    const old = this.#session;
    if (old === undefined) return false;
    this.cuts += 1;
    if (isNoticed) {
      old.close();
      this.#session = undefined;
      return true;
    }
    this.moves += 1;
    this.relink();
    old.close();
    return true;
  }

  /** A new link, on which the edge claims what has not ended for it. */
  relink(): boolean {
    this.#dial();
    for (const answer of this.answers) answer.id = 0;
    for (const answer of this.answers.filter(({ ends }) => ends.length === 0)) {
      answer.id = this.#nextId++;
      answer.unread = 0;
      this.#session?.receive(this.#edge.resume(answer.id, answer.token, answer.received));
    }
    return true;
  }

  get isLinked(): boolean {
    return this.#session !== undefined;
  }

  /** What waits goes into the link, and one message of it arrives. */
  deliver(): boolean {
    const session = this.#session;
    if (session === undefined) return false;
    for (let message = session.take(); message !== undefined; message = session.take()) {
      this.#underWay.push(message);
    }
    const message = this.#underWay.shift();
    if (message === undefined) return false;
    this.#edge.hear(message);
    for (const frame of this.#edge.heard.splice(0)) this.#hear(frame.type, frame.stream, frame.payload);
    return true;
  }

  #hear(type: number, id: number, payload: Uint8Array): void {
    const answer = this.answers.find((each) => each.id === id);
    if (id === 0 || answer === undefined) return;
    if (type === frameTypes.head) answer.heads += 1;
    if (type === frameTypes.end) answer.ends.push('end');
    if (type === frameTypes.fail) answer.ends.push('fail');
    if (type !== frameTypes.data) return;
    const { offset, bytes } = decodeBody(payload);
    expect(offset).toBe(answer.received);
    expect(Buffer.compare(bytes, pattern.subarray(offset, offset + bytes.length))).toBe(0);
    answer.received += bytes.length;
    answer.unread += bytes.length;
    expect(answer.unread).toBeLessThanOrEqual(edgeStreamWindowBytes);
  }

  read(answer: Answer): boolean {
    const { id, unread } = answer;
    if (this.#session === undefined || unread === 0) return false;
    answer.unread = 0;
    this.#session.receive(this.#edge.credit(id, unread));
    this.#session.receive(this.#edge.credit(0, unread));
    return true;
  }
}

const plan: fc.Arbitrary<Plan> = fc.record({
  bytes: fc.constantFrom(0, 1, 400, 100_000, 700_000, 1_500_000),
  chunkBytes: fc.constantFrom(1, 250, 7000, 65_536),
  hasHead: fc.constant(true),
  howItEnds: fc.constantFrom('end', 'end', 'fail'),
});
const smaller = plan.filter(({ bytes, chunkBytes }) => bytes / chunkBytes < 500);

const acts = [
  'produce',
  'produce',
  'produce',
  'deliver',
  'deliver',
  'read',
  'cut',
  'move',
  'relink',
] as const;
const schedule = fc.array(
  fc.record({ act: fc.constantFrom(...acts), index: fc.nat(2), times: fc.constantFrom(1, 5, 40) }),
  { maxLength: 80, size: 'max' },
);

const play = (world: World, act: (typeof acts)[number], answer: Answer): boolean => {
  if (act === 'produce') return answer.produce();
  if (act === 'deliver') return world.deliver();
  if (act === 'read') return world.read(answer);
  if (act === 'relink') return !world.isLinked && world.relink();
  return world.cut(act === 'cut');
};

test('wherever links are cut, what arrives joined is the undisturbed answer, once, and it ends once', () => {
  const reached = { cuts: 0, moves: 0, paused: 0 };
  fc.assert(
    fc.property(fc.array(smaller, { minLength: 1, maxLength: 3 }), schedule, (plans, steps) => {
      const world = new World(plans);
      for (const { act, index, times } of steps) {
        const answer = world.answers[index % world.answers.length] as Answer;
        const most = act === 'cut' || act === 'move' ? 1 : times;
        for (let time = 0; time < most && play(world, act, answer); time += 1) {}
        const unsent = answer.produced - answer.received;
        expect(unsent).toBeLessThanOrEqual(replayStreamBytesMax);
        if (!world.isLinked && answer.isPaused) reached.paused += 1;
      }
      if (!world.isLinked) world.relink();
      const all: (typeof acts)[number][] = ['produce', 'deliver', 'read'];
      for (let moved = true; moved; ) {
        moved = false;
        for (const answer of world.answers) {
          for (const act of all) moved = play(world, act, answer) || moved;
        }
      }
      for (const { plan: planned, received, ends, serves, cancels, heads } of world.answers) {
        expect([received, ends, serves, cancels]).toEqual([planned.bytes, [planned.howItEnds], 1, 0]);
        expect(heads).toBeGreaterThan(0);
      }
      reached.cuts += world.cuts;
      reached.moves += world.moves;
    }),
    { numRuns: 100 },
  );
  expect(Math.min(reached.cuts, reached.moves, reached.paused)).toBeGreaterThan(20);
});

test('what an agent holds of an answer without a link stays within what it may keep', () => {
  const world = new World([{ bytes: 2_000_000, chunkBytes: 1000, hasHead: true, howItEnds: 'end' }]);
  const [answer] = world.answers as [Answer];
  for (let chunk = 0; chunk < 20; chunk += 1) answer.produce();
  world.cut(true);
  while (answer.produce()) {}
  const keptBytes = answer.produced;
  expect(answer.isPaused).toBe(true);
  expect(keptBytes).toBeGreaterThan(agentQueuedBytesMax);
  expect(keptBytes).toBeLessThanOrEqual(replayStreamBytesMax / 2 + 20_000 + 1000);
});
