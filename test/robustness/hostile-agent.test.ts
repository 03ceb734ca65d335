/**
 * An enrolled host that speaks nonsense on its link: it is told why it must go, and costs the nodes beside it nothing.
 */
import { decodeOpenPayload, encodeCredit, frameTypes } from '@cognitora/protocol/frame';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { framePayloadBytesMax, helloMsMax } from '@cognitora/protocol/limits';
import { encodeJson, type OpenRequest, pingText, type ReplicaReport } from '@cognitora/protocol/link';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layouts } from '../harness/cluster.ts';
import { freshId, send } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { type Attacker, dialAs, newEnrolled } from './attacker.ts';
import { PuppetEngine } from './puppet-engine.ts';
import { ask, bodyFor, chatPath, headersFor } from './requests.ts';

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const body = (offset: number, bytes: number): Uint8Array => {
  const payload = Buffer.alloc(8 + bytes, 0x61);
  payload.writeBigUInt64BE(BigInt(offset));
  return payload;
};
const replica = (model: string): ReplicaReport => ({
  name: 'r0' as ReplicaName,
  state: 'ready',
  models: [{ id: model, createdSeconds: 1, ownedBy: 'attacker' }],
});

/** What ends a link at once, before and after its HELLO. */
const greetings: readonly (readonly [string, (link: Attacker) => void])[] = [
  ['a page of zeros', (link) => link.raw(Buffer.alloc(4096))],
  ['random bytes', (link) => link.raw(Buffer.from('ff07a1c4'.repeat(64), 'hex'))],
  ['data before HELLO', (link) => link.frame(frameTypes.data, body(0, 8), 1)],
  ['a HELLO that is no JSON', (link) => link.frame(frameTypes.hello, Buffer.from('{"versionMin":'))],
  [
    'a HELLO with a wrong field',
    (link) => link.frame(frameTypes.hello, json({ versionMin: 1, versionMax: 'x' })),
  ],
  [
    'a frame announced too large',
    (link) => link.frame(frameTypes.hello, Buffer.alloc(8), 0, { payloadBytes: framePayloadBytesMax + 1 }),
  ],
  ['a first frame that is numbered 1', (link) => link.frame(frameTypes.hello, json({}), 0, { sequence: 1 })],
];
const offences: readonly (readonly [string, (link: Attacker) => void])[] = [
  ['a second HELLO', (link) => link.hello()],
  [
    'a frame out of order',
    (link) => link.frame(frameTypes.replicas, json({ replicas: [] }), 0, { sequence: 7 }),
  ],
  ['a frame twice', (link) => link.frame(frameTypes.replicas, json({ replicas: [] }), 0, { sequence: 0 })],
  ['an oversized frame', (link) => link.frame(0x7f, Buffer.alloc(framePayloadBytesMax + 1))],
  ['credit of three bytes', (link) => link.frame(frameTypes.credit, Buffer.alloc(3))],
  [
    'credit beyond any window',
    (link) => {
      for (let grant = 0; grant < 3; grant += 1) link.frame(frameTypes.credit, encodeCredit(2 ** 31));
    },
  ],
  ['a data frame without an offset', (link) => link.frame(frameTypes.data, Buffer.alloc(4), 1)],
  ['an offset beyond 2^53', (link) => link.frame(frameTypes.data, Buffer.alloc(16, 0xff), 1)],
  ['replicas of a wrong shape', (link) => link.frame(frameTypes.replicas, json({ replicas: [{ name: 1 }] }))],
  [
    'one replica twice',
    (link) => link.frame(frameTypes.replicas, json({ replicas: [replica('m'), replica('m')] })),
  ],
  ['a GOAWAY without a message', (link) => link.frame(frameTypes.goaway, json({ code: 'leaving' }))],
];

describe.each(layouts)('an agent that speaks nonsense, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));
  const newLink = async (): Promise<Attacker> => dialAs(fixture.cluster, await newEnrolled(fixture.cluster));
  const newPeer = async (): Promise<Attacker> => (await newLink()).welcomed();
  const expectThrownOut = async (link: Attacker): Promise<void> => {
    await until('the link to be closed', () => link.closed, 5_000);
    expect(link.goaways).toEqual(['protocol_error']);
    expect(link.closed?.code).toBe(1002);
  };

  test('every offence ends its own link, while a stream on another link goes on', async () => {
    const { cluster } = fixture;
    const bystander = ask(cluster, freshId(), { act: 'drip', events: 150, everyMs: 20 });
    for (const [what, offend] of greetings) {
      const link = await newLink();
      offend(link);
      await expectThrownOut(link).catch((thrown: unknown) => {
        throw new Error(`after ${what}`, { cause: thrown });
      });
    }
    for (const [what, offend] of offences) {
      const link = await newPeer();
      offend(link);
      await expectThrownOut(link).catch((thrown: unknown) => {
        throw new Error(`after ${what}`, { cause: thrown });
      });
    }
    const answer = await bystander;
    expect(answer.isWhole).toBe(true);
    expect(answer.body.toString()).toContain('"149 "');
    const nodes = (await cluster.regions()).flatMap((region) => region.nodes);
    expect(nodes.map(({ name }) => name)).toEqual(['gpu']);
  });

  test('a dial that never says HELLO is closed, pings or not, and nobody waits for it', async () => {
    const { cluster } = fixture;
    const links = async (): Promise<number> =>
      (await cluster.regions()).reduce((sum, region) => sum + region.links, 0);
    const before = await links();
    const dialledMs = performance.now();
    const [mute, pinging] = [await newLink(), await newLink()];
    const pings = setInterval(() => pinging.closed ?? pinging.raw(pingText), 500);
    try {
      expect((await ask(cluster, freshId(), {})).status).toBe(200);
      const told = (link: Attacker) => until('its closing frame', () => link.isClosing, helloMsMax + 2_000);
      await Promise.all([told(mute), told(pinging)]);
      expect(performance.now() - dialledMs).toBeGreaterThan(helloMsMax - 100);
    } finally {
      clearInterval(pings);
    }
    await until('the link to be closed', () => pinging.closed);
    expect([pinging.closed, pinging.goaways]).toEqual([{ code: 1002, reason: 'no HELLO' }, []]);
    // Of a connection that never spoke workerd waits another 10 s for the answer to its closing frame.
    mute.close();
    expect(await links()).toBe(before);
    expect((await ask(cluster, freshId(), {})).status).toBe(200);
  });

  test('a protocol from the future is named, and what is unknown is skipped', async () => {
    const link = await newLink();
    link.hello({ versionMin: 40_000, versionMax: 40_001 });
    await until('the link to be closed', () => link.closed);
    expect(link.goaways).toEqual(['version_unsupported']);
    const peer = await newPeer();
    peer.frame(0x7e, Buffer.alloc(1000), 77);
    peer.raw('some text that is no ping');
    peer.frame(frameTypes.end, json({ bodyBytes: 0, totalMs: 0 }), 4_000_000_000);
    peer.frame(frameTypes.replicas, json({ replicas: [replica('from-the-future')] }));
    await until('its replica to show', async () =>
      (await fixture.cluster.regions()).some(({ nodes }) =>
        nodes.some(({ replicas }) => replicas[0]?.models[0] === 'from-the-future'),
      ),
    );
    peer.close();
  });

  /** A peer that serves `model`, and a request that reached it. */
  const withRequest = async (model: string, stream: boolean) => {
    const { cluster } = fixture;
    const peer = await newPeer();
    peer.frame(frameTypes.replicas, json({ replicas: [replica(model)] }));
    const asked = bodyFor({ stream }).replace('"puppet"', `"${model}"`);
    const pending = until('the peer to be known', async () => {
      const answer = send(cluster.url + chatPath, { body: asked, headers: headersFor(cluster, freshId()) });
      const opened = await Promise.race([
        until('OPEN', () => peer.frames.find(({ type }) => type === frameTypes.open), 5_000),
        answer.then(() => undefined),
      ]);
      return opened === undefined ? false : { answer, opened };
    });
    const { answer, opened } = await pending;
    const { meta } = decodeOpenPayload(opened.payload);
    return { peer, answer, id: opened.stream, open: JSON.parse(Buffer.from(meta).toString()) as OpenRequest };
  };
  const okHead = encodeJson({ status: 200, headers: [['content-type', 'text/event-stream']] });

  test('a stream that lies about its bytes ends with an error event, not with a clean end', async () => {
    const { peer, answer, id } = await withRequest('liar', true);
    peer.frame(frameTypes.head, okHead, id);
    peer.frame(frameTypes.data, Buffer.concat([body(0, 0), Buffer.from('data: {"a":1}\n\n')]), id);
    peer.frame(frameTypes.data, body(999, 10), id);
    await expectThrownOut(peer);
    const { status, body: bytes } = await answer;
    expect(status).toBe(200);
    expect(bytes.toString()).toMatch(/"code":"(link_lost|protocol_error)"/);
    expect(bytes.toString()).not.toContain('[DONE]');
  });

  test('bytes beyond the granted credit end the link', async () => {
    const { peer, answer, id } = await withRequest('flooder', true);
    peer.frame(frameTypes.head, okHead, id);
    // One message: no grant can come between them.
    const pieces = Array.from({ length: 4 }, (_, at) => body(at * 32_768, 32_768));
    peer.together(frameTypes.data, pieces, id);
    await expectThrownOut(peer);
    expect((await answer).body.toString()).not.toContain('[DONE]');
  });

  test('an answer that HTTP does not allow fails its request and no other', async () => {
    for (const headers of [[['bad name', 'x']], [['x-ok', 'two\r\nlines: 1']]]) {
      const { peer, answer, id } = await withRequest(`odd-${freshId()}`, false);
      peer.frame(frameTypes.head, json({ status: 200, headers }), id);
      peer.frame(frameTypes.end, json({ bodyBytes: 0, totalMs: 1 }), id);
      const { headers: got } = await answer;
      expect(got).not.toHaveProperty('lines');
      expect(peer.closed).toBeUndefined();
      peer.close();
    }
  });

  test('a node that takes requests and says nothing is given up after the acknowledgement is due', async () => {
    const { peer, answer } = await withRequest('silent', true);
    const { status, body: bytes } = await answer;
    expect([status, bytes.toString()]).toEqual([504, expect.stringContaining('ack_timeout')]);
    await until('CANCEL', () => peer.frames.some(({ type }) => type === frameTypes.cancel));
    peer.close();
    expect((await ask(fixture.cluster, freshId(), {})).status).toBe(200);
  });
});
