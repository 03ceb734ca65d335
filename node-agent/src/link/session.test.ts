import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { frameTypes } from '@cognitora/protocol/frame';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { StreamId } from '@cognitora/protocol/ids';
import { encodeKvWant } from '@cognitora/protocol/kv';
import {
  encodeKvFabric,
  encodeKvHolders,
  holdersByDigest,
  type KvSource,
} from '@cognitora/protocol/kv-fabric';
import {
  agentLinkWindowBytes,
  agentQueuedBytesMax,
  agentStreamWindowBytes,
  frameBodyBytesMax,
} from '@cognitora/protocol/limits';
import type { ResumeToken, Welcome } from '@cognitora/protocol/link';
import { errorOf, text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { describeFrame, helloOf, openOf, ScriptedEdge } from '../../testing/scripted-edge.ts';
import { AgentSession, type LinkReply, type ResumedStream } from './session.ts';

const tokenA = 'a1'.repeat(16) as ResumeToken;
const record = { bodyBytes: 0, totalMs: 1 };
const head = { status: 200, headers: [] };

/** Of tokens that begin with `a`: what goes on has a head and 200 bytes more. */
const resumable = (token: string, replies: LinkReply[], heard: string[]): ResumedStream | undefined => {
  if (!token.startsWith('a')) return undefined;
  const say = (what: string) => () => heard.push(`resumed ${what}`);
  return {
    ...{ body: say('body'), cancel: say('cancel'), drained: say('drained'), unlinked: say('unlinked') },
    attach: (reply) => {
      replies.push(reply);
      reply.head(head);
      reply.data(new Uint8Array(200));
    },
  };
};

/** A session past its greeting, whose engines write down what they hear and say nothing. */
const linked = (windows: Partial<Welcome> | 'silent' = {}) => {
  const edge = new ScriptedEdge();
  const told: string[] = [];
  const heard: string[] = [];
  const replies: LinkReply[] = [];
  const due: StreamId[] = [];
  const kvFrom: (KvSource | undefined)[] = [];
  const session: AgentSession = new AgentSession(helloOf(), {
    welcome: ({ epoch }) => told.push(`welcome ${epoch}`),
    goaway: ({ code }) => told.push(`goaway ${code}`),
    ready: () => {},
    ackDue: (stream) => due.push(stream),
    serve: (open, reply) => {
      const stream = replies.push(reply);
      heard.push(`${stream} open ${open.model}`);
      kvFrom.push(open.kvFrom);
      return {
        body: (bytes, last) =>
          heard.push(`${stream} body ${text(bytes.subarray(0, 9))}${last ? ' last' : ''}`),
        cancel: (reason) => heard.push(`${stream} cancel ${reason}`),
        drained: () => heard.push(`${stream} drained`),
        unlinked: () => heard.push(`${stream} unlinked`),
      };
    },
    resume: ({ token, offset }) => {
      heard.push(`resume ${token.slice(0, 2)} from ${offset}`);
      return resumable(token, replies, heard);
    },
    kvWanted: ({ feed, request }) => told.push(`want ${feed} as ${request}`),
    kvFabric: ({ peers }) => told.push(`fabric of ${peers.map(({ name }) => name).join()}`),
    kvHolders: (holders) =>
      told.push(`holders of ${holders.ask}: ${JSON.stringify(holdersByDigest(holders))}`),
  });
  /** What the agent sends now, in words. */
  const sent = (): string[] => {
    for (let message = session.take(); message !== undefined; message = session.take()) edge.hear(message);
    return edge.heard.splice(0).map(describeFrame);
  };
  if (windows !== 'silent') {
    session.receive(edge.welcome(windows));
    sent();
  }
  const reply = (stream: number): LinkReply => {
    const found = replies[stream - 1];
    if (found === undefined) throw new Error(`no stream ${stream}`);
    return found;
  };
  return { edge, session, told, heard, due, kvFrom, sent, reply };
};

/** One stream whose whole request came with its OPEN. */
const serving = (windows: Partial<Welcome> = {}) => {
  const parts = linked(windows);
  parts.session.receive(parts.edge.open(1, openOf(5), utf8('hello'), true));
  parts.heard.length = 0;
  return parts;
};

test('HELLO is the first thing said, before anything is heard', () => {
  const { sent, told, session, edge } = linked('silent');
  expect(sent()).toEqual(['0 hello']);
  session.receive(edge.welcome());
  expect(told).toEqual(['welcome 7']);
});

test('WELCOME comes first, but for a GOAWAY', () => {
  const { session, edge } = linked('silent');
  expect(errorOf(() => session.receive(edge.open(1, openOf(5), utf8('hello'), true)))?.code).toBe(
    'protocol_error',
  );
  const refused = linked('silent');
  const goaway = { code: 'version_unsupported', message: 'Upgrade.' };
  refused.session.receive(refused.edge.json(frameTypes.goaway, 0, goaway));
  expect(refused.told).toEqual(['goaway version_unsupported']);
});

test('of caches nothing is said before WELCOME, and then ahead of any body', () => {
  const { session, sent, edge, reply } = linked('silent');
  session.kv('kvfeed', utf8('{}'));
  expect(sent()).toEqual(['0 hello']);
  session.receive(joinBytes([edge.welcome(), edge.open(1, openOf(5), utf8('hello'), true)]));
  reply(1).data(utf8('body'));
  session.kv('kvfeed', utf8('{}'));
  session.kv('kvdelta', utf8('x'));
  session.kv('kvsnapshot', utf8('x'));
  session.kv('kvmark', utf8('x'));
  expect(sent()).toEqual(['0 kvfeed', '0 kvdelta', '0 kvsnapshot', '0 kvmark', '1 data @0+4']);
});

test('an edge that asks for a snapshot is heard, and one that asks in no known way is refused', () => {
  const { session, edge, told } = linked();
  session.receive(edge.frame(frameTypes.kvwant, 0, encodeKvWant({ feed: 3, request: 12 })));
  expect(told).toEqual(['welcome 7', 'want 3 as 12']);
  expect(() => session.receive(edge.frame(frameTypes.kvwant, 0, utf8('seven..')))).toThrow('8 bytes');
});

test('of a KV daemon nothing is said before WELCOME, and what the edge says of the fleet is heard', () => {
  const { session, edge, sent, told } = linked('silent');
  const say = (): void => {
    session.kvPeer({ publicKey: 'k', addresses: [], reach: [], replicas: [] });
    session.kvHeld({ isCleared: true, added: new Uint32Array(2), removed: new Uint32Array() });
    session.kvAsk({ ask: 3, digests: new Uint32Array(2) });
  };
  say();
  expect(sent()).toEqual(['0 hello']);
  session.receive(edge.welcome());
  say();
  expect(sent()).toEqual(['0 kvpeer', '0 kvheld', '0 kvask']);
  const node = nodeIdOf(new Uint8Array(32));
  const peer = { node, name: 'b', publicKey: 'A'.repeat(43), addresses: [] };
  const fabric = encodeKvFabric({ ca: 'c', certificate: 'd', peers: [peer] });
  const holders = encodeKvHolders({ ask: 3, nodes: [node], holders: [[0], []] });
  session.receive(
    joinBytes([edge.frame(frameTypes.kvfabric, 0, fabric), edge.frame(frameTypes.kvholders, 0, holders)]),
  );
  expect(told).toEqual(['welcome 7', 'fabric of b', `holders of 3: [["${node}"],[]]`]);
});

test('where a prompt may be fetched from reaches who serves it', () => {
  const { session, edge, kvFrom } = linked();
  const source = { node: nodeIdOf(new Uint8Array(32)), blocks: 47 };
  session.receive(edge.open(1, { ...openOf(5), kvFrom: source }, utf8('hello'), true));
  session.receive(edge.open(2, openOf(5), utf8('hello'), true));
  expect(kvFrom).toEqual([source, undefined]);
});

test('replicas are reported only once the link is open', () => {
  const { session, sent, edge } = linked('silent');
  session.replicas([]);
  expect(sent()).toEqual(['0 hello']);
  session.receive(edge.welcome());
  session.replicas([]);
  expect(sent()).toEqual(['0 replicas']);
});

test('a whole request is served at once, and its ACK is due', () => {
  const { session, edge, heard, due } = linked();
  session.receive(edge.open(1, openOf(5), utf8('hello'), true));
  expect(heard).toEqual(['1 open m', '1 body hello last']);
  expect(due).toEqual([1]);
});

test('a long request comes in pieces, and credit goes back as the engine takes it', () => {
  const { session, edge, heard, sent, reply } = linked();
  const half = agentStreamWindowBytes / 2;
  session.receive(edge.open(1, openOf(agentStreamWindowBytes), new Uint8Array(), false));
  let offset = 0;
  for (; offset < agentStreamWindowBytes; offset += frameBodyBytesMax) {
    const isLast = offset + frameBodyBytesMax === agentStreamWindowBytes;
    session.receive(edge.body(1, offset, new Uint8Array(frameBodyBytesMax).fill(0x61), isLast));
  }
  expect(heard.at(-1)).toBe('1 body aaaaaaaaa last');
  reply(1).consumed(half - 1);
  expect(sent()).toEqual([]);
  reply(1).consumed(1);
  expect(sent()).toEqual([`1 credit ${half}`]);
});

test('body bytes inside OPEN cost no credit and give none back', () => {
  const { session, edge, sent, reply } = linked();
  let granted = 0;
  const rounds = (2 * agentLinkWindowBytes) / frameBodyBytesMax;
  for (let stream = 1; stream <= rounds; stream += 1) {
    session.receive(edge.open(stream, openOf(frameBodyBytesMax), new Uint8Array(frameBodyBytesMax), true));
    reply(stream).consumed(frameBodyBytesMax);
    reply(stream).fail({ code: 'replica_gone', message: 'x', record });
    granted += sent().filter((line) => line.includes('credit')).length;
  }
  expect(granted).toBe(0);
});

test('of a body that began inside OPEN only the rest gives credit', () => {
  const { session, edge, sent, reply } = linked();
  const rest = agentStreamWindowBytes / 2;
  session.receive(edge.open(1, openOf(100 + rest), new Uint8Array(100), false));
  for (let offset = 0; offset < rest; offset += frameBodyBytesMax) {
    session.receive(
      edge.body(1, 100 + offset, new Uint8Array(frameBodyBytesMax), offset + frameBodyBytesMax === rest),
    );
  }
  reply(1).consumed(rest);
  expect(sent()).toEqual([]);
  reply(1).consumed(100);
  expect(sent()).toEqual([`1 credit ${rest}`]);
});

test.each([
  ['a body shorter than announced', (e: ScriptedEdge) => [e.open(1, openOf(6), utf8('hello'), true)]],
  ['a body longer than announced', (e: ScriptedEdge) => [e.open(1, openOf(4), utf8('hello'), true)]],
  [
    'a piece beyond what was announced',
    (e: ScriptedEdge) => [e.open(1, openOf(4), new Uint8Array(), false), e.body(1, 0, utf8('hello'))],
  ],
  [
    'a last piece too early',
    (e: ScriptedEdge) => [e.open(1, openOf(6), new Uint8Array(), false), e.body(1, 0, utf8('hello'), true)],
  ],
  [
    'a piece at the wrong offset',
    (e: ScriptedEdge) => [e.open(1, openOf(6), new Uint8Array(), false), e.body(1, 1, utf8('h'))],
  ],
  [
    'a stream opened twice',
    (e: ScriptedEdge) => [
      e.open(1, openOf(5), utf8('hello'), true),
      e.open(1, openOf(5), utf8('hello'), true),
    ],
  ],
  [
    'an OPEN shorter than its metadata',
    (e: ScriptedEdge) => [e.frame(frameTypes.open, 1, new Uint8Array([0, 0, 0, 9]))],
  ],
  [
    'an OPEN that is no JSON',
    (e: ScriptedEdge) => [e.frame(frameTypes.open, 1, new Uint8Array([0, 0, 0, 1, 0x78]))],
  ],
  [
    'more than the stream window',
    (e: ScriptedEdge) => [
      e.open(1, openOf(2 ** 20), new Uint8Array(), false),
      e.body(1, 0, new Uint8Array(agentStreamWindowBytes - 100)),
      e.body(1, agentStreamWindowBytes - 100, new Uint8Array(101)),
    ],
  ],
  [
    'a claim under the number of a live stream',
    (e: ScriptedEdge) => [e.open(1, openOf(5), utf8('hello'), true), e.resume(1, tokenA, 0)],
  ],
  ['a claim without a token', (e: ScriptedEdge) => [e.json(frameTypes.resume, 1, { offset: 0 })]],
  ['a CANCEL without a reason', (e: ScriptedEdge) => [e.frame(frameTypes.cancel, 1)]],
  ['a CREDIT of 5 bytes', (e: ScriptedEdge) => [e.frame(frameTypes.credit, 0, new Uint8Array(5))]],
  ['credit beyond reason', (e: ScriptedEdge) => [e.credit(0, 2 ** 32 - 1)]],
])('%s is a protocol error', (_, make) => {
  const { session, edge } = linked();
  expect(errorOf(() => session.receive(joinBytes(make(edge))))?.code).toBe('protocol_error');
});

test('frames of a newer version, and those for streams that are not, are skipped', () => {
  const { session, edge, heard, sent } = serving();
  session.receive(joinBytes([edge.frame(0x7f, 1), edge.cancel(9), edge.credit(9, 10)]));
  expect(heard).toEqual([]);
  expect(sent()).toEqual([]);
});

test.each(['never was', 'has ended', 'was cancelled'])(
  'BODY for a stream that %s gives its link credit back',
  (how) => {
    const { session, edge, heard, sent, reply } = linked();
    if (how !== 'never was') {
      session.receive(edge.open(1, openOf(2 ** 25), new Uint8Array(), false));
      if (how === 'has ended') reply(1).end(record);
      else session.receive(edge.cancel(1));
    }
    heard.length = 0;
    sent();
    for (let offset = 0; offset < agentLinkWindowBytes * 2; offset += frameBodyBytesMax) {
      session.receive(edge.body(1, offset, new Uint8Array(frameBodyBytesMax)));
    }
    expect(heard).toEqual([]);
    expect(sent()).toEqual(Array.from({ length: 4 }, () => `0 credit ${agentLinkWindowBytes / 2}`));
  },
);

test('more than the link window is a protocol error', () => {
  const { session, edge } = linked();
  const send = (): void => {
    for (let stream = 1; stream <= agentLinkWindowBytes / agentStreamWindowBytes + 1; stream += 1) {
      session.receive(edge.open(stream, openOf(2 ** 20), new Uint8Array(), false));
      for (let offset = 0; offset < agentStreamWindowBytes; offset += frameBodyBytesMax) {
        session.receive(edge.body(stream, offset, new Uint8Array(frameBodyBytesMax)));
      }
    }
  };
  expect(errorOf(send)?.message).toContain('credit');
});

test('ACK is said when nothing else was', () => {
  const { session, edge, sent, reply } = serving();
  session.acknowledge(1 as StreamId);
  expect(sent()).toEqual(['1 ack']);
  session.receive(edge.open(2, openOf(5), utf8('hello'), true));
  reply(2).head(head);
  session.acknowledge(2 as StreamId);
  expect(sent()).toEqual(['2 head']);
  session.receive(edge.open(3, openOf(5), utf8('hello'), true));
  reply(3).fail({ code: 'replica_gone', message: 'x', record });
  session.acknowledge(3 as StreamId);
  session.acknowledge(99 as StreamId);
  expect(sent()).toEqual(['3 fail']);
});

test('no ACK is due for a request that failed at once', () => {
  const session: AgentSession = new AgentSession(helloOf(), {
    welcome: () => {},
    goaway: () => {},
    ready: () => {},
    ackDue: () => {
      throw new Error('due');
    },
    serve: (_, reply) => {
      reply.fail({ code: 'replica_gone', message: 'x', record });
      return { body: () => {}, cancel: () => {}, drained: () => {}, unlinked: () => {} };
    },
    resume: () => undefined,
    kvWanted: () => {},
    kvFabric: () => {},
    kvHolders: () => {},
  });
  const edge = new ScriptedEdge();
  session.receive(joinBytes([edge.welcome(), edge.open(1, openOf(2), utf8('{}'), true)]));
  expect(session.streams).toBe(0);
});

test('a response goes as head, data and end, within the edge’s credit', () => {
  const { session, edge, sent, reply } = serving({ streamWindowBytes: 100, linkWindowBytes: 150 });
  reply(1).head(head);
  reply(1).data(new Uint8Array(120));
  reply(1).end(record);
  expect(sent()).toEqual(['1 head', '1 data @0+100']);
  expect(session.streams).toBe(0);
  session.receive(edge.credit(1, 100));
  expect(sent()).toEqual(['1 data @100+20', '1 end']);
});

test('what is said after the end is not sent', () => {
  const { sent, reply } = serving();
  reply(1).end(record);
  reply(1).end(record);
  reply(1).head(head);
  expect(reply(1).data(new Uint8Array(10))).toBe(true);
  reply(1).fail({ code: 'internal', message: 'x', record });
  expect(sent()).toEqual(['1 end']);
});

test('a CANCEL while the response waits for credit drops it, although it had ended', () => {
  const { session, edge, heard, sent, reply } = serving({ streamWindowBytes: 10, linkWindowBytes: 10 });
  reply(1).data(new Uint8Array(100));
  reply(1).end(record);
  expect(sent()).toEqual(['1 data @0+10']);
  session.receive(joinBytes([edge.cancel(1), edge.credit(1, 1000), edge.credit(0, 1000)]));
  expect(sent()).toEqual([]);
  expect(heard).toEqual([]);
});

test('a CANCEL stops the engine’s work with its reason, and nothing more is said', () => {
  const { session, edge, heard, sent, reply } = serving();
  reply(1).head(head);
  session.receive(edge.cancel(1));
  expect(heard).toEqual(['1 cancel client_stalled']);
  reply(1).data(new Uint8Array(10));
  reply(1).end(record);
  expect(sent()).toEqual(['1 head']);
  expect(session.streams).toBe(0);
});

test('an engine is held back while too much is queued, and goes on at half of it', () => {
  const { session, edge, heard, sent, reply } = serving({ streamWindowBytes: 2 ** 20, linkWindowBytes: 1 });
  expect(reply(1).data(new Uint8Array(agentQueuedBytesMax))).toBe(true);
  expect(reply(1).data(new Uint8Array(1))).toBe(false);
  sent();
  session.receive(edge.credit(0, agentQueuedBytesMax / 2 - 1));
  sent();
  expect(heard).toEqual([]);
  session.receive(edge.credit(0, 1));
  sent();
  expect(heard).toEqual(['1 drained']);
  sent();
  expect(heard).toHaveLength(1);
});

test('a link that closes tells its streams, and says nothing more', () => {
  const { session, edge, heard, sent, reply } = serving();
  session.receive(edge.open(2, openOf(9), new Uint8Array(), false));
  heard.length = 0;
  session.close();
  session.close();
  expect(heard).toEqual(['1 unlinked', '2 unlinked']);
  expect(session.streams).toBe(0);
  reply(1).data(new Uint8Array(10));
  reply(1).end(record);
  expect(sent()).toEqual([]);
});

test('a stream that is claimed is acknowledged at once and goes on at its offset, with windows of its own', () => {
  const { session, edge, heard, sent, reply } = linked({ streamWindowBytes: 150, linkWindowBytes: 1000 });
  session.receive(edge.resume(5, tokenA, 4096));
  expect(heard).toEqual(['resume a1 from 4096']);
  expect(sent()).toEqual(['5 ack', '5 head', '5 data @4096+150']);
  expect(reply(1).queuedBytes).toBe(50);
  session.receive(edge.credit(5, 150));
  reply(1).end(record);
  expect(sent()).toEqual(['5 data @4246+50', '5 end']);
  expect([reply(1).queuedBytes, session.streams]).toEqual([0, 0]);
});

test('a claim for what is not kept fails, and so does nothing else', () => {
  const { session, edge, sent } = serving();
  session.receive(edge.resume(2, 'b2'.repeat(16) as ResumeToken, 0));
  expect(sent()).toEqual(['2 fail']);
  expect(session.streams).toBe(1);
});

test('a claimed stream is cancelled, and told of its link’s end, as any other', () => {
  const { session, edge, heard } = linked();
  session.receive(joinBytes([edge.resume(1, tokenA, 0), edge.resume(2, tokenA, 0), edge.cancel(1)]));
  session.close();
  expect(heard.slice(2)).toEqual(['resumed cancel', 'resumed unlinked']);
});

test('a stream that moved elsewhere says nothing more here, not even what it had queued', () => {
  const { session, edge, sent, reply } = serving({ streamWindowBytes: 10 });
  reply(1).data(new Uint8Array(100));
  expect(sent()).toEqual(['1 data @0+10']);
  reply(1).moved();
  session.receive(edge.credit(1, 1000));
  reply(1).data(new Uint8Array(100));
  reply(1).end(record);
  expect([sent(), session.streams, reply(1).queuedBytes]).toEqual([[], 0, 0]);
});
