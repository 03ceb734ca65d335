/**
 * The fleet of the chaos run: one production edge, hosts with a production agent and an engine each, a relay between
 * every agent and the edge. Starts it, harms it as told, mends it, ends it: by pids of its own and nothing else.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '@cognitora/protocol/errors';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import { FakeProcess } from './fake-process.ts';
import type { Fault, FaultKind } from './faults.ts';
import { LinkRelay } from './link-relay.ts';
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
  /** Where agents' output is kept, one file each; undefined: nowhere. */
  readonly logs: string | undefined;
}

interface HostParts {
  readonly name: string;
  readonly engine: FakeProcess;
  readonly real: RealReplica | undefined;
  readonly relay: LinkRelay;
}

export class Host {
  readonly name: string;
  readonly engine: FakeProcess;
  readonly real: RealReplica | undefined;
  readonly relay: LinkRelay;
  readonly #startAgent: (host: Host) => Program;
  #agent: Program | undefined;
  /** Why a run says nothing: an engine that never came back. */
  trouble: string | undefined;

  constructor({ name, engine, real, relay }: HostParts, startAgent: (host: Host) => Program) {
    this.name = name;
    this.engine = engine;
    this.real = real;
    this.relay = relay;
    this.#startAgent = startAgent;
  }

  async startEngines(): Promise<void> {
    await Promise.all([this.engine.start(), this.real?.start()]);
  }

  /** As a service manager does: a real engine takes its time, and nobody waits for it. */
  async restartEngines(): Promise<void> {
    this.real?.start().catch((thrown) => {
      this.trouble = messageOf(thrown);
    });
    await this.engine.start();
  }

  async killEngines(): Promise<void> {
    await Promise.all([this.engine.kill(), this.real?.kill()]);
  }

  startAgent(): void {
    this.#agent = this.#startAgent(this);
  }

  async killAgent(): Promise<void> {
    await this.#agent?.stop('SIGKILL');
    this.#agent = undefined;
  }

  signalAgent(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#agent?.child.kill(signal);
  }

  async stop(): Promise<void> {
    await Promise.all([this.killAgent(), this.engine.kill(), this.real?.stop()]);
    await this.relay.stop();
  }
}

/** What harms a host, and what mends it. */
const harms: Readonly<Record<FaultKind, readonly [harm: Deed, mend: Deed]>> = {
  'engine killed': [(host) => host.killEngines(), (host) => host.restartEngines()],
  'link cut': [({ relay }) => void relay.cut(), () => {}],
  'link silent': [({ relay }) => relay.silence(), ({ relay }) => relay.speak()],
  'agent paused': [(host) => host.signalAgent('SIGSTOP'), (host) => host.signalAgent('SIGCONT')],
  'agent killed': [(host) => host.killAgent(), (host) => host.startAgent()],
};
type Deed = (host: Host) => void | Promise<void>;

export interface Strike extends Fault {
  readonly beganUs: number;
}

export class Fleet {
  readonly edge: EdgeUnderTest;
  readonly hosts: readonly Host[];
  readonly trails: Trails;

  constructor(edge: EdgeUnderTest, hosts: readonly Host[], trails: Trails) {
    this.edge = edge;
    this.hosts = hosts;
    this.trails = trails;
  }

  /** Carries out one fault, from its wait to its mending. */
  async suffer(fault: Fault): Promise<Strike> {
    const host = this.hosts[fault.host];
    if (host === undefined) throw new Error(`no host ${fault.host}`);
    const [harm, mend] = harms[fault.kind];
    await delayMs(fault.afterMs);
    const beganUs = monotonicUs();
    await harm(host);
    await delayMs(fault.lastsMs);
    await mend(host);
    return { ...fault, beganUs };
  }

  /** Requests under way in all engines. */
  async liveInEngines(): Promise<number> {
    const live = await Promise.all(this.hosts.map(({ engine }) => engine.live()));
    return live.reduce((sum, one) => sum + one, 0);
  }

  /** What the edge carries, and the nodes whose replicas are all ready. */
  async atEdge(): Promise<{ readonly streams: number; readonly live: number; readonly ready: number }> {
    const { regions } = await this.edge.admin('GET', '/admin/nodes');
    const list = regions as readonly RegionSeen[];
    const nodes = list.flatMap((region) => region.nodes);
    return {
      streams: list.reduce((sum, region) => sum + region.streams, 0),
      live: nodes.reduce((sum, { live }) => sum + live, 0),
      ready: nodes.filter(({ replicas }) => replicas.every(({ state }) => state === 'ready')).length,
    };
  }

  isReady = async (): Promise<boolean> => {
    const trouble = this.hosts.find((host) => host.trouble !== undefined)?.trouble;
    if (trouble !== undefined) throw new Error(trouble);
    return (await this.atEdge()).ready === this.hosts.length;
  };

  async stop(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.stop()));
    await this.edge.stop();
  }
}

interface RegionSeen {
  readonly streams: number;
  readonly nodes: readonly {
    readonly live: number;
    readonly replicas: readonly { readonly state: string }[];
  }[];
}

export const startFleet = async (options: FleetOptions): Promise<Fleet> => {
  const { layout, hosts: count, wordMs, hasReal, logs } = options;
  const trails = new Trails();
  const names = Array.from({ length: count }, (_, at) => `host-${at}`);
  const relays = await Promise.all(names.map(() => new LinkRelay().listen()));
  const edge = await startEdgeUnderTest(layout, { origins: relays.map(({ url }) => url) });
  const joinToken = await edge.joinToken(count);
  const startAgent = ({ name, engine, real, relay }: Host): Program =>
    startProgram(
      process.execPath,
      [
        ...[agentPath, '--config', '/dev/null', '--edge', relay.url, '--name', name],
        ...['--engine-url', engine.url, '--profile', 'vllm'],
        ...(real === undefined ? [] : ['--engine-url', real.url, '--profile', 'embedded']),
        ...['--data-dir', join(edge.directory, name)],
      ],
      { COGNITORA_JOIN_TOKEN: joinToken, COGNITORA_PARENT_PIPE: '1' },
      (text) => {
        if (logs !== undefined) appendFileSync(join(logs, `${name}.log`), text);
      },
    );
  const hosts = names.map((name, at) => {
    const relay = relays[at] as LinkRelay;
    relay.edgePort = edge.port;
    const engine = new FakeProcess({ model: fakeModel, wordMs }, (note) =>
      trails.add({ ...note, engine: name, us: monotonicUs() }),
    );
    const real = hasReal ? new RealReplica(join(edge.directory, 'models')) : undefined;
    return new Host({ name, engine, real, relay }, startAgent);
  });
  const fleet = new Fleet(edge, hosts, trails);
  try {
    // One after the other: the first makes the model's file.
    for (const host of hosts) await host.startEngines();
    for (const host of hosts) host.startAgent();
    await waitUntil('readiness of the fleet', readyMsMax, fleet.isReady);
    return fleet;
  } catch (thrown) {
    await fleet.stop();
    throw thrown;
  }
};
