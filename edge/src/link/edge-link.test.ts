import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { bodyOffsetBytes, decodeOpenPayload, frameTypes } from '@cognitora/protocol/frame';
import type { StreamId } from '@cognitora/protocol/ids';
import {
  agentStreamWindowBytes,
  edgeLinkWindowBytes,
  edgeStreamWindowBytes,
  frameBodyBytesMax,
  framePayloadBytesMax,
  streamsPerLinkMax,
} from '@cognitora/protocol/limits';
import type { Hello } from '@cognitora/protocol/link';
import { errorOf, text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { newIntake } from '../../testing/intakes.ts';
import { helloOf, requestOf, ScriptedAgent, welcomeOf } from '../../testing/scripted-agent.ts';
import { EdgeLink, type StreamHandler } from './edge-link.ts';

/** Writes down what it hears. */
const listener = () => {
  const heard: string[] = [];
  const handler: StreamHandler = {
    acknowledged: () => heard.push('ack'),
    head: ({ status }) => heard.push(`head ${status}`),
    data: (bytes) => heard.push(`data ${text(bytes)}`),
    end: ({ bodyBytes }) => heard.push(`end ${bodyBytes}`),
    fail: ({ code }) => heard.push(`fail ${code}`),
    settled: () => heard.push('settled'),
  };
  return { heard, handler };
};

/** A link whose agent has said HELLO, unless told otherwise. */
const linked = (windows: Partial<Hello> | 'silent' = {}) => {
  const agent = new ScriptedAgent();
  const told: string[] = [];
  const link: EdgeLink = new EdgeLink(
    {
      bytes: (message) => agent.hear(message),
      hello: (hello) => {
        told.push(`hello ${hello.name}`);
        link.welcome(hello, welcomeOf());
      },
      replicas: (replicas) => told.push(`replicas ${replicas.length}`),
      kv: ({ type }) => told.push(`kv ${type}`),
      telemetry: ({ rttMs }) => told.push(`telemetry ${rttMs}`),
      goaway: ({ code }) => told.push(`goaway ${code}`),
    },
    newIntake(),
  );
  if (windows !== 'silent') link.receive(agent.hello(windows));
  return { agent, link, told };
};

/** The end of this turn of the event loop, when what was queued goes out. */
const turn = (): Promise<void> => Promise.resolve();

/** A link past its greeting with one stream whose body is whole. */
const serving = async () => {
  const { agent, link, told } = linked();
  const { heard, handler } = listener();
  const id = link.open(requestOf(5), utf8('hello'), true, handler);
  await turn();
  agent.said();
  return { agent, link, told, heard, id };
};

test('HELLO is told to the host and answered with WELCOME; streams open only then', async () => {
  const { agent, link, told } = linked('silent');
  expect(link.isOpen).toBe(false);
  expect(errorOf(() => link.open(requestOf(), new Uint8Array(), true, listener().handler))?.code).toBe(
    'link_lost',
  );
  link.receive(agent.hello());
  await turn();
  expect(told).toEqual(['hello host']);
  expect(agent.said()).toEqual(['0 welcome']);
  expect(link.isOpen).toBe(true);
});

test.each([
  ['a frame before HELLO', (agent: ScriptedAgent) => agent.ack(1)],
  ['an unknown frame before HELLO', (agent: ScriptedAgent) => agent.frame(0x7f, 0)],
  ['a HELLO that is no JSON', (agent: ScriptedAgent) => agent.frame(frameTypes.hello, 0, utf8('{'))],
  [
    'a HELLO without a name',
    (agent: ScriptedAgent) => agent.json(frameTypes.hello, 0, { ...helloOf(), name: '' }),
  ],
])('%s is a protocol error', (_, make) => {
  const { agent, link } = linked('silent');
  expect(errorOf(() => link.receive(make(agent)))?.code).toBe('protocol_error');
});

test.each([
  ['a second HELLO', (agent: ScriptedAgent) => agent.hello()],
  ['a DATA at the wrong offset', (agent: ScriptedAgent) => agent.data(1, 3, utf8('x'))],
  ['a DATA without an offset', (agent: ScriptedAgent) => agent.frame(frameTypes.data, 1, utf8('x'))],
  ['a HEAD with no status', (agent: ScriptedAgent) => agent.json(frameTypes.head, 1, { headers: [] })],
  ['an END that is no JSON', (agent: ScriptedAgent) => agent.frame(frameTypes.end, 1, utf8('garbage'))],
  [
    'a FAIL without its record',
    (agent: ScriptedAgent) => agent.json(frameTypes.fail, 1, { code: 'internal' }),
  ],
  ['a CREDIT of 3 bytes', (agent: ScriptedAgent) => agent.frame(frameTypes.credit, 1, new Uint8Array(3))],
  [
    'REPLICAS that are no list',
    (agent: ScriptedAgent) => agent.json(frameTypes.replicas, 0, { replicas: 1 }),
  ],
  [
    'more DATA than the stream window',
    (agent: ScriptedAgent) => agent.data(1, 0, new Uint8Array(edgeStreamWindowBytes + 1)),
  ],
  [
    'a lost frame',
    (agent: ScriptedAgent) => {
      agent.ack(1);
      return agent.ack(1);
    },
  ],
])('%s is a protocol error, and closing then ends the stream', async (_, make) => {
  const { agent, link, heard } = await serving();
  expect(errorOf(() => link.receive(make(agent)))?.code).toBe('protocol_error');
  link.close('broken');
  expect(heard.filter((line) => line === 'fail link_lost')).toHaveLength(1);
  expect(heard.at(-1)).toBe('settled');
  expect(link.streams).toBe(0);
});

test('frames of a newer version are skipped', async () => {
  const { agent, link, heard } = await serving();
  link.receive(joinBytes([agent.frame(0x7f, 1, utf8('new')), agent.frame(0x2f, 0), agent.ack(1)]));
  expect(heard).toEqual(['ack', 'settled']);
});

test('what the agent says reaches the stream in order and is settled once per message', async () => {
  const { agent, link, heard } = await serving();
  link.receive(joinBytes([agent.ack(1), agent.head(1), agent.data(1, 0, utf8('ab'))]));
  link.receive(joinBytes([agent.data(1, 2, utf8('cd')), agent.end(1, 4)]));
  expect(heard).toEqual(['ack', 'head 200', 'data ab', 'settled', 'data cd', 'end 4', 'settled']);
  expect(link.streams).toBe(0);
});

test('a stream that ended in a message is settled although the message ends in garbage', async () => {
  const { agent, link, heard } = await serving();
  const message = joinBytes([agent.head(1), agent.end(1), agent.hello()]);
  expect(errorOf(() => link.receive(message))?.code).toBe('protocol_error');
  link.close('broken');
  expect(heard).toEqual(['head 200', 'end 0', 'settled']);
});

test('frames for a stream that is over or never was are ignored', async () => {
  const { agent, link, heard } = await serving();
  link.receive(joinBytes([agent.fail(1), agent.ack(1), agent.head(1), agent.end(1), agent.end(99)]));
  expect(heard).toEqual(['fail engine_broke_off', 'settled']);
});

test('REPLICAS and GOAWAY are told to the host', async () => {
  const { agent, link, told } = await serving();
  link.receive(agent.json(frameTypes.replicas, 0, { replicas: [] }));
  link.receive(agent.json(frameTypes.goaway, 0, { code: 'leaving', message: 'bye' }));
  expect(told.slice(1)).toEqual(['replicas 0', 'goaway leaving']);
});

test('all that was queued in one turn travels in one message, control frames first', async () => {
  const { agent, link } = linked();
  await turn();
  agent.said();
  const before = agent.messages;
  const first = link.open(requestOf(40), new Uint8Array(), false, listener().handler);
  void link.write(first, new Uint8Array(30));
  void link.write(first, new Uint8Array(10));
  link.finish(first);
  for (let count = 0; count < 20; count += 1)
    link.open(requestOf(), new Uint8Array(20), true, listener().handler);
  link.cancel(2 as StreamId, 'client_gone');
  expect(agent.messages).toBe(before);
  await turn();
  expect(agent.messages).toBe(before + 1);
  const said = agent.said();
  expect(said).toHaveLength(23);
  expect(said[0]).toBe('1 open +0');
  expect(said.at(-2)).toBe('2 cancel 0');
  expect(said.at(-1)).toBe('1 body @0+40 last');
});

test('OPEN carries the request and the first bytes of its body', async () => {
  const { agent, link } = linked();
  link.open(requestOf(5), utf8('hello'), true, listener().handler);
  await turn();
  const { meta, body } = decodeOpenPayload(agent.heard.at(-1)?.payload ?? new Uint8Array());
  expect(JSON.parse(text(meta))).toEqual(requestOf(5));
  expect(text(body)).toBe('hello');
});

test('a body waits for the agent’s credit, of the stream and of the link', async () => {
  const { agent, link } = linked({ streamWindowBytes: 100, linkWindowBytes: 150 });
  for (const _ of [1, 2]) {
    const id = link.open(requestOf(200), new Uint8Array(), false, listener().handler);
    void link.write(id, new Uint8Array(200));
    link.finish(id);
  }
  await turn();
  expect(agent.said().slice(3)).toEqual(['1 body @0+100', '2 body @0+50']);
  link.receive(agent.credit(1, 100));
  await turn();
  expect(agent.said()).toEqual([]);
  link.receive(agent.credit(0, 120));
  await turn();
  expect(agent.said()).toEqual(['2 body @50+50', '1 body @100+70']);
});

test('a writer waits until all it wrote is sent, and may use its buffer again then', async () => {
  const { agent, link } = linked({ streamWindowBytes: agentStreamWindowBytes, linkWindowBytes: 2 ** 24 });
  const id = link.open(requestOf(), new Uint8Array(), false, listener().handler);
  const few = new Uint8Array(10).fill(7);
  await link.write(id, few);
  few.fill(8);
  expect(agent.heard.at(-1)?.payload.subarray(bodyOffsetBytes)).toEqual(new Uint8Array(10).fill(7));
  let resumed = false;
  const waits = link.write(id, new Uint8Array(2 * agentStreamWindowBytes - 10))?.then(() => {
    resumed = true;
  });
  await turn();
  await turn();
  expect(resumed).toBe(false);
  link.receive(agent.credit(id, agentStreamWindowBytes));
  await waits;
  expect(resumed).toBe(true);
});

test.each([
  ['an END', (agent: ScriptedAgent) => agent.end(1)],
  ['a FAIL', (agent: ScriptedAgent) => agent.fail(1)],
  ['a close', undefined],
  ['a cancel', 'cancel'],
])('%s while the body is unsent wakes its writer and sends no more of it', async (_, how) => {
  const { agent, link } = linked({ streamWindowBytes: 100, linkWindowBytes: 150 });
  const id = link.open(requestOf(), new Uint8Array(), false, listener().handler);
  const waits = link.write(id, new Uint8Array(2 * agentStreamWindowBytes));
  expect(waits).toBeDefined();
  await turn();
  agent.said();
  if (how === undefined) link.close('gone');
  else if (how === 'cancel') link.cancel(id, 'client_stalled');
  else if (typeof how === 'function') link.receive(how(agent));
  await waits;
  expect(link.write(id, new Uint8Array(10 * agentStreamWindowBytes))).toBeUndefined();
  if (how !== undefined) link.receive(joinBytes([agent.credit(0, 1000), agent.credit(1, 1000)]));
  await turn();
  expect(agent.said()).toEqual(how === 'cancel' ? ['1 cancel 1'] : []);
});

test('read bytes give credit back, of the stream and of the link, half a window at a time', async () => {
  const { agent, link, id } = await serving();
  const half = edgeStreamWindowBytes / 2;
  link.receive(
    joinBytes([agent.data(1, 0, new Uint8Array(half)), agent.data(1, half, new Uint8Array(half))]),
  );
  link.consumed(id, half - 1);
  await turn();
  expect(agent.said()).toEqual([]);
  link.consumed(id, 1);
  await turn();
  expect(agent.said()).toEqual([`1 credit ${half}`]);
});

test('DATA for a cancelled stream gives its link credit back, unheard', async () => {
  const { agent, link, heard, id } = await serving();
  link.cancel(id, 'client_gone');
  await turn();
  expect(agent.said()).toEqual(['1 cancel 0']);
  let offset = 0;
  const granted: string[] = [];
  for (let sent = 0; sent < 2 * edgeLinkWindowBytes; sent += frameBodyBytesMax) {
    link.receive(agent.data(1, offset, new Uint8Array(frameBodyBytesMax)));
    offset += frameBodyBytesMax;
    await turn();
    granted.push(...agent.said());
  }
  expect(new Set(granted)).toEqual(new Set([`0 credit ${edgeLinkWindowBytes / 2}`]));
  expect(granted).toHaveLength(4);
  expect(heard).toEqual([]);
});

test('bytes read after their stream ended still give link credit, and none to the stream', async () => {
  const { agent, link } = await serving();
  const granted: string[] = [];
  for (let round = 0; round < 256; round += 1) {
    const id = link.open(requestOf(), new Uint8Array(), true, listener().handler);
    link.receive(joinBytes([agent.data(id, 0, new Uint8Array(frameBodyBytesMax)), agent.end(id)]));
    link.consumed(id, frameBodyBytesMax);
    await turn();
    granted.push(...agent.said().filter((line) => !line.includes('open')));
  }
  expect(granted).toEqual([`0 credit ${edgeLinkWindowBytes / 2}`, `0 credit ${edgeLinkWindowBytes / 2}`]);
});

test('more DATA than the link window is a protocol error', () => {
  const { agent, link } = linked();
  const send = (): void => {
    for (let sent = 0; sent <= edgeLinkWindowBytes; sent += edgeStreamWindowBytes) {
      const id = link.open(requestOf(), new Uint8Array(), true, listener().handler);
      link.receive(agent.data(id, 0, new Uint8Array(edgeStreamWindowBytes)));
    }
  };
  expect(errorOf(send)?.code).toBe('protocol_error');
});

test('a cancelled stream hears nothing more, and cancelling again says nothing', async () => {
  const { agent, link, heard, id } = await serving();
  link.cancel(id, 'total_timeout');
  link.cancel(id, 'total_timeout');
  link.receive(joinBytes([agent.ack(1), agent.head(1), agent.end(1)]));
  link.close('gone');
  await turn();
  expect(heard).toEqual([]);
  expect(link.streams).toBe(0);
});

test('closing ends every stream once with link_lost; nothing is sent or heard afterwards', async () => {
  const { agent, link } = linked();
  await turn();
  agent.said();
  const listeners = [listener(), listener(), listener()];
  for (const { handler } of listeners) link.open(requestOf(), new Uint8Array(), true, handler);
  link.close('gone');
  link.close('gone');
  link.receive(utf8('garbage that nobody reads any more'));
  await turn();
  for (const { heard } of listeners) expect(heard).toEqual(['fail link_lost', 'settled']);
  expect(agent.said()).toEqual([]);
  expect(link.isOpen).toBe(false);
  expect(errorOf(() => link.open(requestOf(), new Uint8Array(), true, listener().handler))?.code).toBe(
    'link_lost',
  );
});

test('a GOAWAY goes out at once, also before HELLO', () => {
  const { agent, link } = linked('silent');
  link.goaway({ code: 'leaving', message: 'The edge is stopping.' });
  expect(agent.said()).toEqual(['0 goaway']);
});

test('a link carries streamsPerLinkMax streams and refuses the next', () => {
  const { link } = linked();
  const open = () => link.open(requestOf(), new Uint8Array(), true, listener().handler);
  for (let count = 0; count < streamsPerLinkMax; count += 1) open();
  expect(errorOf(open)?.code).toBe('no_capacity');
  link.cancel(1 as StreamId, 'client_gone');
  expect(open()).toBe(streamsPerLinkMax + 1);
});

test('a request whose metadata fits no frame is refused and leaves no stream behind', async () => {
  const { agent, link } = linked();
  await turn();
  agent.said();
  const huge = requestOf(5, [['tracestate', 'x'.repeat(framePayloadBytesMax)]]);
  expect(errorOf(() => link.open(huge, utf8('hello'), true, listener().handler))?.code).toBe(
    'protocol_error',
  );
  expect(link.streams).toBe(0);
  await turn();
  expect(agent.said()).toEqual([]);
});
