/**
 * KV between two hosts as the edge arranges it, in a real workerd: links scripted by hand tell of their daemons, are
 * told of each other with certificates that Node's TLS takes, ask who holds a key, and are sent requests with word of
 * who holds their beginning.
 */
import { decodeOpenPayload, frameTypes } from '@cognitora/protocol/frame';
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { encodeKvDelta, encodeKvFeed } from '@cognitora/protocol/kv';
import {
  encodeKvAsk,
  encodeKvHeld,
  encodeKvPeer,
  holdersByDigest,
  type KvPeer,
  parseKvFabric,
  parseKvHolders,
} from '@cognitora/protocol/kv-fabric';
import { encodeJson, type OpenRequest, parseOpenRequest, parseWelcome } from '@cognitora/protocol/link';
import { prefixChain, rootKey } from '@cognitora/protocol/prefix/chain';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { describe, expect, test } from 'vitest';
import { type Cluster, layouts } from '../harness/cluster.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { type Attacker, dialAs, type Forger, newEnrolled } from '../robustness/attacker.ts';
import { shakeHands } from './handshake.ts';

const model = 'm';
const chatPath = '/v1/chat/completions';
const replica = 'r0' as ReplicaName;
const body = {
  model,
  messages: [{ role: 'user', content: Array.from({ length: 3_000 }, (_, word) => `word${word}`).join(' ') }],
};

interface Host extends Forger {
  readonly link: Attacker;
  /** What it is sent from now on. */
  readonly opens: OpenRequest[];
}

const newHost = async (cluster: Cluster, name: string): Promise<Host> => {
  const forger = await newEnrolled(cluster);
  const link = await dialAs(cluster, forger);
  const models = [{ id: model, createdSeconds: 1, ownedBy: 'x' }];
  link.hello({ name, replicas: [{ name: replica, state: 'ready', models }] });
  await until('WELCOME', () => link.frames.some(({ type }) => type === frameTypes.welcome));
  return { ...forger, link, opens: [] };
};

const latest = <Message>(
  { link }: Host,
  type: number,
  parse: (payload: Uint8Array) => Message,
): Message | undefined => {
  const frame = link.frames.findLast((one) => one.type === type);
  return frame && parse(frame.payload);
};

const fabricOf = (host: Host) => latest(host, frameTypes.kvfabric, parseKvFabric);
const namesOf = (host: Host) => fabricOf(host)?.peers.map(({ name }) => name);

const tellPeer = ({ link, publicKey }: Host, port: number, reached: readonly NodeId[] = []): void => {
  const reach = reached.map((node) => ({ node, transport: 'tls', rttMs: 0.5, bytesPerMs: 1e6 }) as const);
  const peer: KvPeer = {
    ...{ publicKey, addresses: [{ transport: 'tls', host: '127.0.0.1', port }], reach },
    replicas: [{ name: replica, namespace: 'n1', bytesPerToken: 1_000, insertBytesPerMs: 1e6 }],
  };
  link.frame(frameTypes.kvpeer, encodeKvPeer(peer));
};

/** What the replica's host holds of the prompt. */
const tellHeld = (host: Host, isHeld: boolean): void => {
  const prefix = latest(host, frameTypes.welcome, parseWelcome)?.prefix;
  if (prefix === undefined) throw new Error('the edge digests no prompts');
  const root = rootKey({ salt: prefix.salt, model, profile: plainProfile });
  const terms = { root, profile: plainProfile, blockBytes: prefix.blockBytes, blocksMax: 1_000 };
  const { digests } = prefixChain({ path: chatPath, body }, terms);
  const feed = { feed: 0, replica, model, trust: 'exact', profile: plainProfile } as const;
  host.link.frame(frameTypes.kvfeed, encodeKvFeed(feed));
  const added = isHeld ? [{ tier: 'host', digests } as const] : [];
  const delta = { feed: 0, sequence: 1, isCleared: true, added, removed: [], epoch: 1 as Epoch };
  host.link.frame(frameTypes.kvdelta, encodeKvDelta(delta));
};

/** Answers whatever the host was sent so far with an empty object. */
const serve = ({ link, opens }: Host): void => {
  const all = link.frames.filter(({ type }) => type === frameTypes.open);
  for (const { payload, stream } of all.slice(opens.length)) {
    opens.push(parseOpenRequest(decodeOpenPayload(payload).meta));
    const head = { status: 200, headers: [['content-type', 'application/json']] } as const;
    link.frame(frameTypes.head, encodeJson(head), stream);
    link.frame(frameTypes.data, Buffer.from('\0\0\0\0\0\0\0\0{}'), stream);
    link.frame(frameTypes.end, encodeJson({ bodyBytes: 2, totalMs: 1 }), stream);
  }
};

const request = (cluster: Cluster, id: string): Promise<Response> =>
  fetch(cluster.url + chatPath, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${cluster.apiKey}`, 'x-request-id': id },
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  });

const metricsOf = async ({ url, adminKey }: Cluster): Promise<Record<string, number>> => {
  const page = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminKey}` } });
  const samples = (await page.text()).matchAll(/^(cognitora_kv_\w+)\{[^}]*\} (\d+)$/gm);
  return Object.fromEntries([...samples].map(([, name, value]) => [name, Number(value)]));
};

describe.each(layouts)('two hosts with KV daemons, layout %s', (layout) => {
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));

  test('share a fabric, find each other’s keys, and fetch what the other holds, until one is removed', async () => {
    const { cluster } = fixture;
    const [one, other] = [await newHost(cluster, 'one'), await newHost(cluster, 'other')];
    tellPeer(one, 7001, [other.node]);
    tellPeer(other, 7002);
    await until('both to be told of both', () => [one, other].every((host) => namesOf(host)?.length === 2));
    expect(fabricOf(one)?.peers).toContainEqual({
      ...{ node: other.node, name: 'other', publicKey: other.publicKey },
      addresses: [{ transport: 'tls', host: '127.0.0.1', port: 7002 }],
    });
    const tlsHost = (host: Host) => {
      const { ca = '', certificate = '' } = fabricOf(host) ?? {};
      return { node: host.node, key: host.privateKey, ca, certificate };
    };
    const ends = { server: tlsHost(one), client: tlsHost(other) };
    expect(await shakeHands(ends)).toEqual([one.node, other.node]);
    expect(await shakeHands({ ...ends, servername: other.node })).toContain('ERR_TLS_CERT_ALTNAME_INVALID');

    const digests = Uint32Array.of(1, 2, 3, 4);
    const none = new Uint32Array();
    const held = encodeKvHeld({ isCleared: true, added: digests.slice(0, 2), removed: none });
    other.link.frame(frameTypes.kvheld, held);
    let asks = 0;
    const holders = async () => {
      asks += 1;
      one.link.frame(frameTypes.kvask, encodeKvAsk({ ask: asks, digests }));
      const answer = () => latest(one, frameTypes.kvholders, parseKvHolders);
      await until('the answer', () => answer()?.ask === asks);
      return holdersByDigest(answer() ?? { ask: 0, nodes: [], holders: [] });
    };
    await until('the holder to be named', async () => (await holders())[0]?.length === 1);
    expect(await holders()).toEqual([[other.node], []]);

    tellHeld(one, false);
    tellHeld(other, true);
    await cluster.admin('PUT', `/admin/nodes/${other.node}/cordon`);
    let requests = 0;
    await until('a request with word of a holder', async () => {
      requests += 1;
      const answer = request(cluster, `fetch-${requests}`);
      await until('the request', () => {
        serve(one);
        return one.opens.length === requests;
      });
      expect((await answer).status).toBe(200);
      return one.opens.at(-1)?.kvFrom !== undefined;
    });
    const blocks = one.opens.at(-1)?.kvFrom?.blocks ?? 0;
    expect(one.opens.at(-1)?.kvFrom).toEqual({ node: other.node, blocks: expect.any(Number) });
    expect(blocks).toBeGreaterThan(80);
    const { decisions } = await cluster.admin<{ decisions: Record<string, unknown>[] }>(
      'GET',
      `/admin/requests/fetch-${requests}`,
    );
    const considered = [expect.objectContaining({ node: one.node, fetchMs: expect.any(Number) })];
    expect(decisions[0]).toMatchObject({ kvFrom: { node: other.node, blocks }, considered });

    const { regions } = await cluster.admin<{ regions: { nodes: Record<string, unknown>[] }[] }>(
      'GET',
      '/admin/nodes',
    );
    expect(regions[0]?.nodes.find(({ node }) => node === one.node)?.kv).toMatchObject({
      addresses: [{ transport: 'tls', host: '127.0.0.1', port: 7001 }],
      reach: [{ node: other.node, transport: 'tls', rttMs: 0.5, bytesPerMs: 1e6 }],
    });
    expect(await metricsOf(cluster)).toMatchObject({
      ...{ cognitora_kv_nodes: 2, cognitora_kv_nodes_linked: 2, cognitora_kv_nodes_refused: 0 },
      ...{ cognitora_kv_keys: 1, cognitora_kv_asked_keys: 2 * asks, cognitora_kv_suggested_fetches: 1 },
    });

    await cluster.admin('DELETE', `/admin/nodes/${other.node}?force=true`);
    await until('the other to leave the roster', () => namesOf(one)?.join() === 'one');
    expect(await holders()).toEqual([[], []]);
  });

  test('a daemon with another key than its node’s is told of nobody', async () => {
    const { cluster } = fixture;
    const [impostor, fellow] = [await newHost(cluster, 'impostor'), await newHost(cluster, 'fellow')];
    tellPeer({ ...impostor, publicKey: fellow.publicKey }, 7003);
    tellPeer(fellow, 7004);
    await until('the fellow to be told', () => namesOf(fellow)?.includes('fellow') === true);
    expect([namesOf(impostor), namesOf(fellow)?.includes('impostor')]).toEqual([undefined, false]);
    expect((await metricsOf(cluster)).cognitora_kv_nodes_refused).toBe(1);
  });
});
