/**
 * Both ends of a link back to back, with the bytes between them cut anywhere and delivered whenever: every byte of
 * every body arrives once and in order, whoever may go on does go on, and what is held stays within the windows.
 */
import { EdgeLink, type StreamHandler } from '@cognitora/edge/link/edge-link';
import { AgentSession, type StreamReply } from '@cognitora/node-agent/link/session';
import type { Epoch, Region, ReplicaName, RequestId, StreamId } from '@cognitora/protocol/ids';
import {
  agentLinkWindowBytes,
  agentQueuedBytesMax,
  agentStreamWindowBytes,
  edgeLinkWindowBytes,
  edgeStreamWindowBytes,
  messageBytesMax,
} from '@cognitora/protocol/limits';
import type { Hello, OpenRequest, Welcome } from '@cognitora/protocol/link';
import { pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newIntake } from '../../edge/testing/intakes.ts';

/** A byte of a body tells its place, so that one lost, repeated or moved shows. */
const pattern = Uint8Array.from({ length: 1_000_000 }, (_, at) => at * 31 + (at >> 8));
const stretch = (seed: number, from: number, bytes: number): Uint8Array =>
  pattern.subarray(seed + from, seed + from + bytes);
const isStretch = (bytes: Uint8Array, seed: number, from: number): boolean =>
  Buffer.compare(bytes, stretch(seed, from, bytes.length)) === 0;

const hello: Hello = {
  versionMin: 1,
  versionMax: 1,
  agent: 'simulated/1',
  name: 'host',
  streamWindowBytes: agentStreamWindowBytes,
  linkWindowBytes: agentLinkWindowBytes,
  replicas: [],
};

const welcome: Welcome = {
  version: 1,
  epoch: 1 as Epoch,
  region: 'local' as Region,
  heartbeatMs: 3000,
  leaseMs: 10_000,
  streamWindowBytes: edgeStreamWindowBytes,
  linkWindowBytes: edgeLinkWindowBytes,
};

const request: Omit<OpenRequest, 'requestId' | 'bodyBytes'> = {
  replica: 'r0' as ReplicaName,
  path: '/v1/chat/completions',
  model: 'm',
  stream: true,
  headers: [],
  spans: { model: [0, 1] },
  remainingMs: 60_000,
};

interface Plan {
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly chunkBytes: number;
  readonly howItEnds: 'end' | 'fail' | 'cancel';
}

/** One request and its response, as both its ends see it. */
class Exchange {
  readonly plan: Plan;
  readonly seed: number;
  id: StreamId = 0 as StreamId;
  reply: StreamReply | undefined;
  // The edge's side.
  uploaded = 0;
  writing = false;
  received = 0;
  unread = 0;
  outcome: string | undefined;
  // The agent's side.
  taken = 0;
  untaken = 0;
  produced = 0;
  paused = false;
  cancelled = false;
  over = false;

  constructor(plan: Plan, seed: number) {
    this.plan = plan;
    this.seed = seed;
  }
}

type Move = 'toAgent' | 'toEdge' | 'read' | 'take' | 'produce' | 'upload' | 'cancel' | 'ack';

class World {
  readonly exchanges: Exchange[] = [];
  readonly toAgent: Uint8Array[] = [];
  readonly toEdge: Uint8Array[] = [];
  readonly link: EdgeLink;
  readonly session: AgentSession;
  readonly due: StreamId[] = [];

  constructor() {
    this.link = new EdgeLink(
      {
        bytes: (message) => this.toAgent.push(message),
        hello: (hello) => this.link.welcome(hello, welcome),
        replicas: () => {},
        kv: () => {},
        telemetry: () => {},
        goaway: () => {},
      },
      newIntake(),
    );
    this.session = new AgentSession(hello, {
      welcome: () => {},
      goaway: () => {},
      ready: () => {},
      ackDue: (stream) => this.due.push(stream),
      kvWanted: () => {},
      kvFabric: () => {},
      kvHolders: () => {},
      serve: (open, reply) => this.#serve(open.requestId, reply),
      resume: () => undefined,
    });
  }

  #serve(requestId: string, reply: StreamReply) {
    const exchange = this.at(Number(requestId));
    exchange.reply = reply;
    reply.head({ status: 200, headers: [] });
    return {
      body: (bytes: Uint8Array) => {
        expect(isStretch(bytes, exchange.seed, exchange.taken)).toBe(true);
        exchange.taken += bytes.length;
        exchange.untaken += bytes.length;
        expect(exchange.untaken).toBeLessThanOrEqual(agentStreamWindowBytes + messageBytesMax);
      },
      cancel: () => {
        exchange.cancelled = true;
      },
      drained: () => {
        exchange.paused = false;
      },
      unlinked: () => {},
    };
  }

  at(index: number): Exchange {
    const exchange = this.exchanges[index];
    if (exchange === undefined) throw new Error(`no exchange ${index}`);
    return exchange;
  }

  open(plan: Plan): void {
    const index = this.exchanges.length;
    const exchange = new Exchange(plan, index * 57);
    this.exchanges.push(exchange);
    const handler: StreamHandler = {
      acknowledged: () => {},
      head: () => {},
      data: (bytes) => {
        expect(isStretch(bytes, exchange.seed, exchange.received)).toBe(true);
        exchange.received += bytes.length;
        exchange.unread += bytes.length;
        expect(exchange.unread).toBeLessThanOrEqual(edgeStreamWindowBytes);
      },
      end: () => this.#ended(exchange, 'end'),
      fail: () => this.#ended(exchange, 'fail'),
      settled: () => {},
    };
    const isWhole = plan.requestBytes <= 32_768;
    const first = isWhole ? stretch(exchange.seed, 0, plan.requestBytes) : new Uint8Array();
    const open = { ...request, requestId: String(index) as RequestId, bodyBytes: plan.requestBytes };
    exchange.id = this.link.open(open, first, isWhole, handler);
    if (isWhole) exchange.uploaded = plan.requestBytes;
  }

  #ended(exchange: Exchange, outcome: string): void {
    expect(exchange.outcome).toBeUndefined();
    exchange.outcome = outcome;
    if (outcome === 'end') expect(exchange.received).toBe(exchange.plan.responseBytes);
  }

  move(move: Move, index: number, cuts: readonly number[]): boolean {
    if (move === 'toAgent') return this.#deliver(this.toAgent, cuts, (bytes) => this.session.receive(bytes));
    if (move === 'toEdge') {
      for (let message = this.session.take(); message !== undefined; message = this.session.take()) {
        this.toEdge.push(message);
      }
      return this.#deliver(this.toEdge, cuts, (bytes) => this.link.receive(bytes));
    }
    if (move === 'ack') {
      const stream = this.due.shift();
      if (stream !== undefined) this.session.acknowledge(stream);
      return stream !== undefined;
    }
    const exchange = this.at(index % this.exchanges.length);
    if (move === 'read') return this.#read(exchange);
    if (move === 'take') return this.#take(exchange);
    if (move === 'produce') return this.#produce(exchange);
    if (move === 'upload') return this.#upload(exchange);
    if (exchange.plan.howItEnds !== 'cancel' || exchange.outcome !== undefined) return false;
    exchange.outcome = 'cancelled';
    this.link.cancel(exchange.id, 'client_gone');
    return true;
  }

  #deliver(queue: Uint8Array[], cuts: readonly number[], receive: (bytes: Uint8Array) => void): boolean {
    const message = queue.shift();
    if (message === undefined) return false;
    for (const piece of pieces(message, cuts)) receive(piece);
    return true;
  }

  #read(exchange: Exchange): boolean {
    const { id, unread } = exchange;
    exchange.unread = 0;
    if (unread > 0) this.link.consumed(id, unread);
    return unread > 0;
  }

  #take(exchange: Exchange): boolean {
    const { untaken } = exchange;
    exchange.untaken = 0;
    if (untaken > 0) exchange.reply?.consumed(untaken);
    return untaken > 0;
  }

  #produce(exchange: Exchange): boolean {
    const { plan, reply, produced } = exchange;
    if (reply === undefined || exchange.paused || exchange.over || exchange.cancelled) return false;
    const record = { bodyBytes: produced, totalMs: 1 };
    if (produced === plan.responseBytes) {
      exchange.over = true;
      if (plan.howItEnds === 'fail') reply.fail({ code: 'engine_broke_off', message: 'x', record });
      else reply.end(record);
      return true;
    }
    const bytes = Math.min(plan.chunkBytes, plan.responseBytes - produced);
    exchange.paused = !reply.data(stretch(exchange.seed, produced, bytes));
    exchange.produced += bytes;
    const inFlight = exchange.produced - exchange.received;
    expect(inFlight).toBeLessThanOrEqual(agentQueuedBytesMax + edgeStreamWindowBytes + plan.chunkBytes);
    return true;
  }

  #upload(exchange: Exchange): boolean {
    const { plan, uploaded, id } = exchange;
    if (exchange.writing || uploaded >= plan.requestBytes || exchange.outcome !== undefined) return false;
    const bytes = Math.min(40_000, plan.requestBytes - uploaded);
    exchange.uploaded += bytes;
    const waits = this.link.write(id, stretch(exchange.seed, uploaded, bytes));
    if (exchange.uploaded === plan.requestBytes) this.link.finish(id);
    if (waits !== undefined) {
      exchange.writing = true;
      void waits.then(() => {
        exchange.writing = false;
      });
    }
    return true;
  }
}

const plan: fc.Arbitrary<Plan> = fc.record({
  requestBytes: fc.constantFrom(1, 300, 40_000, 700_000),
  responseBytes: fc.constantFrom(0, 1, 999, 100_000, 300_000),
  chunkBytes: fc.constantFrom(100, 5000, 150_000),
  howItEnds: fc.constantFrom('end' as const, 'end' as const, 'fail' as const, 'cancel' as const),
});
const moves: readonly Move[] = ['toAgent', 'toEdge', 'read', 'take', 'produce', 'upload', 'ack'];
const schedule = fc.array(
  fc.record({
    move: fc.constantFrom(...moves, 'cancel' as const),
    index: fc.nat(7),
    cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
  }),
  { maxLength: 120 },
);

test('every byte arrives once and in order, nothing deadlocks, and the windows bound what is held', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 4 }), schedule, async (plans, steps) => {
      const world = new World();
      world.move('toEdge', 0, []);
      await Promise.resolve();
      for (const next of plans) world.open(next);
      for (const { move, index, cuts } of steps) {
        world.move(move, index, cuts);
        await Promise.resolve();
      }
      // From here on everybody does what he can: as long as something moves, it is no deadlock.
      let moved = true;
      while (moved) {
        moved = false;
        for (const move of moves) {
          for (const index of world.exchanges.keys()) {
            moved = world.move(move, index, []) || moved;
            await Promise.resolve();
          }
        }
      }
      for (const { plan: planned, outcome, received, taken } of world.exchanges) {
        if (outcome === 'cancelled') continue;
        expect(outcome).toBe(planned.howItEnds === 'fail' ? 'fail' : 'end');
        if (outcome === 'end') expect(received).toBe(planned.responseBytes);
        expect(taken).toBeLessThanOrEqual(planned.requestBytes);
      }
      expect(world.link.streams).toBe(0);
      expect(world.session.streams).toBe(0);
    }),
    { numRuns: 100 },
  );
});
