/**
 * The fleet of the chaos run: one production edge, hosts with a production agent and an engine each, a relay between
 * every agent and the edge. Starts it, harms it as told, mends it, ends it: by pids of its own and nothing else.
 */
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '@cognitora/protocol/errors';
import { openLossyLink, wideArea } from '../lossy-link/link.ts';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import { FakeProcess } from './fake-process.ts';
import type { Fault, FaultKind } from './faults.ts';
import { Host } from './host.ts';
import { HostNetwork } from './host-network.ts';
import { LinkRelay } from './link-relay.ts';
import { Progress } from './progress.ts';
import { RealReplica } from './real-replica.ts';
import { Trails } from './trails.ts';

export const fakeModel = 'chaos';
const agentPath = join(import.meta.dirname, '../../node-agent/src/main.ts');
const readyMsMax = 60_000;

export interface FleetOptions {
  readonly layout: 'one-object' | 'object-per-node';
  readonly hosts: number;
  readonly wordMs: number;
  /** Each host has a real engine beside the fake one. */
  readonly hasReal: boolean;
  /** Each host has a network of its own, which can be parted from the edge's. */
  readonly hasNetworks: boolean;
  /** Where agents' output is kept, one file each; undefined: nowhere. */
  readonly logs: string | undefined;
}

/** What harms a host, and what mends it. */
const harms: Readonly<Record<FaultKind, readonly [harm: Deed, mend: Deed]>> = {
  'engine killed': [(host) => host.killEngines(), (host) => host.restartEngines()],
  'link cut': [({ relay }) => void relay.cut(), () => {}],
  'link silent': [({ relay }) => relay.silence(), ({ relay }) => relay.speak()],
  'network parted': [({ network }) => network?.part(), ({ network }) => network?.join()],
  'agent paused': [(host) => host.signalAgent('SIGSTOP'), (host) => host.signalAgent('SIGCONT')],
  'agent killed': [(host) => host.killAgent(), (host) => host.startAgent()],
  'engine paused': [(host) => host.signalEngines('SIGSTOP'), (host) => host.signalEngines('SIGCONT')],
  'edge paused': [
    (_, edge) => void process.kill(edge.pid(), 'SIGSTOP'),
    (_, edge) => void process.kill(edge.pid(), 'SIGCONT'),
  ],
};
type Deed = (host: Host, edge: EdgeUnderTest) => void | Promise<void>;

export interface Strike extends Fault {
  readonly beganUs: number;
}

export class Fleet {
  readonly edge: EdgeUnderTest;
  readonly hosts: readonly Host[];
  readonly trails: Trails;
  readonly progress = new Progress();

  readonly #sockets: string;

  constructor(edge: EdgeUnderTest, hosts: readonly Host[], trails: Trails, sockets: string) {
    this.edge = edge;
    this.hosts = hosts;
    this.trails = trails;
    this.#sockets = sockets;
  }

  get hasNetworks(): boolean {
    return this.hosts.every(({ network }) => network !== undefined);
  }

  /** Carries out one fault, from its wait to its mending. */
  async suffer(fault: Fault): Promise<Strike> {
    const host = this.hosts[fault.host];
    if (host === undefined) throw new Error(`no host ${fault.host}`);
    const [harm, mend] = harms[fault.kind];
    await delayMs(fault.afterMs);
    const beganUs = monotonicUs();
    await harm(host, this.edge);
    this.progress.struck(fault.kind);
    await delayMs(fault.lastsMs);
    await mend(host, this.edge);
    return { ...fault, beganUs };
  }

  /** Requests under way in all engines. */
  async liveInEngines(): Promise<number> {
    const live = await Promise.all(this.hosts.map(({ engine }) => engine.live()));
    return live.reduce((sum, one) => sum + one, 0);
  }

  /** Streams that the edge continued at another engine since it was started; 0 while it is not there to tell. */
  async continued(): Promise<number> {
    const { regions = [] } = await this.edge.admin('GET', '/admin/nodes').catch(() => ({ regions: [] }));
    return (regions as readonly RegionSeen[]).reduce((sum, { decisions }) => sum + decisions.continued, 0);
  }

  /** What the edge carries, and the states of each node's replicas. */
  async atEdge(): Promise<AtEdge> {
    const { regions } = await this.edge.admin('GET', '/admin/nodes');
    const list = regions as readonly RegionSeen[];
    const nodes = list.flatMap((region) => region.nodes);
    return {
      streams: list.reduce((sum, region) => sum + region.streams, 0),
      live: nodes.reduce((sum, { live }) => sum + live, 0),
      states: nodes.map(({ name, replicas }) => `${name}: ${replicas.map(({ state }) => state).join(' ')}`),
    };
  }

  /** Until every replica of every host is ready; else throws who is not. */
  async ready(): Promise<void> {
    let seen = 'nothing';
    const isReady = async (): Promise<boolean> => {
      const { states } = await this.atEdge();
      seen = [...states, ...this.hosts.flatMap(({ trouble }) => trouble ?? [])].join(', ');
      return states.length === this.hosts.length && states.every((state) => /: (?:ready ?)+$/.test(state));
    };
    await waitUntil('readiness of the fleet', readyMsMax, isReady).catch((thrown: Error) => {
      throw new Error(`${thrown.message}: ${seen}`);
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.stop()));
    await this.edge.stop();
    rmSync(this.#sockets, { recursive: true, force: true });
  }
}

interface AtEdge {
  readonly streams: number;
  readonly live: number;
  readonly states: readonly string[];
}

interface RegionSeen {
  readonly streams: number;
  readonly decisions: { readonly continued: number };
  readonly nodes: readonly {
    readonly name: string;
    readonly live: number;
    readonly replicas: readonly { readonly state: string }[];
  }[];
}

interface Way {
  readonly relay: LinkRelay;
  readonly network: HostNetwork | undefined;
  /** The edge, as the host's agent sees it. */
  readonly url: string;
}

/** A network of its own where the system allows it, else a port of this machine. */
const openWay = async (path: string, hasNetworks: boolean, seed: number): Promise<Way> => {
  const relay = new LinkRelay();
  if (!hasNetworks) return { relay: await relay.listen(), network: undefined, url: relay.url };
  await relay.listen(path);
  const network = await HostNetwork.open(path, seed);
  return { relay, network, url: network.url };
};

/** Undefined: the system allows networks of our own. Else what it says. */
export const whyNoNetworks = async (): Promise<string | undefined> => {
  const link = await openLossyLink({ shape: wideArea({ rttMs: 1, lossShare: 0 }), seed: 1 }).catch(messageOf);
  if (typeof link === 'string') return link;
  await link.stop();
  return undefined;
};

export const startFleet = async (options: FleetOptions): Promise<Fleet> => {
  const { layout, hosts: count, wordMs, hasReal, hasNetworks, logs } = options;
  const trails = new Trails();
  const names = Array.from({ length: count }, (_, at) => `host-${at}`);
  const sockets = mkdtempSync(join(tmpdir(), 'cognitora-chaos-'));
  // However this run ends.
  process.once('exit', () => rmSync(sockets, { recursive: true, force: true }));
  const ways = await Promise.all(names.map((name, at) => openWay(join(sockets, name), hasNetworks, at)));
  const edge = await startEdgeUnderTest(layout, { origins: [...new Set(ways.map(({ url }) => url))] });
  const joinToken = await edge.joinToken(count);
  const hosts = names.map((name, at) => {
    const { relay, network, url } = ways[at] as Way;
    const enter = network?.enter ?? [];
    relay.edgePort = edge.port;
    const engine = new FakeProcess({ model: fakeModel, wordMs }, enter, (note) =>
      trails.add({ ...note, engine: name, us: monotonicUs() }),
    );
    const real = hasReal ? new RealReplica(join(edge.directory, 'models'), enter) : undefined;
    const startAgent = (): Program => {
      const [program = '', ...words] = [...enter, process.execPath, agentPath, '--config', '/dev/null'];
      return startProgram(
        program,
        [
          ...[...words, '--edge', url, '--name', name, '--data-dir', join(edge.directory, name)],
          ...['--engine-url', engine.url, '--profile', 'vllm'],
          ...(real === undefined ? [] : ['--engine-url', real.url, '--profile', 'embedded']),
        ],
        { COGNITORA_JOIN_TOKEN: joinToken, COGNITORA_PARENT_PIPE: '1' },
        (text) => {
          if (logs !== undefined) appendFileSync(join(logs, `${name}.log`), text);
        },
      );
    };
    return new Host({ name, engine, real, relay, network }, startAgent);
  });
  const fleet = new Fleet(edge, hosts, trails, sockets);
  try {
    // One after the other: the first makes the model's file.
    for (const host of hosts) await host.startEngines();
    for (const host of hosts) host.startAgent();
    await fleet.ready();
    return fleet;
  } catch (thrown) {
    await fleet.stop();
    throw thrown;
  }
};
