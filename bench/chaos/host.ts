/** One host of the chaos run: an agent, its engines, and its way to the edge. Started, harmed and ended by its pids. */
import { messageOf } from '@cognitora/protocol/errors';
import type { Program } from '../systems/program.ts';
import type { FakeProcess } from './fake-process.ts';
import type { HostNetwork } from './host-network.ts';
import type { LinkRelay } from './link-relay.ts';
import type { RealReplica } from './real-replica.ts';

export interface HostParts {
  readonly name: string;
  readonly engine: FakeProcess;
  readonly real: RealReplica | undefined;
  readonly relay: LinkRelay;
  /** Undefined: its programs are in this machine's own. */
  readonly network: HostNetwork | undefined;
}

export class Host {
  readonly name: string;
  readonly engine: FakeProcess;
  readonly real: RealReplica | undefined;
  readonly relay: LinkRelay;
  readonly network: HostNetwork | undefined;
  readonly #startAgent: () => Program;
  #agent: Program | undefined;
  /** Why a run says nothing: an engine that never came back. */
  trouble: string | undefined;

  constructor({ name, engine, real, relay, network }: HostParts, startAgent: () => Program) {
    this.name = name;
    this.engine = engine;
    this.real = real;
    this.relay = relay;
    this.network = network;
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
    this.#agent = this.#startAgent();
  }

  async killAgent(): Promise<void> {
    await this.#agent?.stop('SIGKILL');
    this.#agent = undefined;
  }

  signalEngines(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.engine.signal(signal);
    this.real?.signal(signal);
  }

  signalAgent(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#agent?.child.kill(signal);
  }

  async stop(): Promise<void> {
    await Promise.all([this.killAgent(), this.engine.kill(), this.real?.stop()]);
    await this.network?.stop();
    await this.relay.stop();
  }
}
