/**
 * A host: its key and certificate, which outlive its agent, and the agent's program in one life after the other. The
 * program is the whole daemon; only its disk is left out.
 */
import { createHash, createHmac, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { certificateText, dialText, formatDial, nextDialMs, nodeIdOf } from '@cognitora/protocol/identity';
import type { NodeId } from '@cognitora/protocol/ids';
import { type AgentWorld, agentModules, type DialEvents } from './agent-modules.ts';
import type { Connection } from './connection.ts';
import type { Program } from './programs.ts';
import type { Chance } from './random.ts';
import type { Schedule, Trace } from './schedule.ts';
import type { SimEngine } from './sim-engine.ts';
import { globalsOf, SimProcess } from './sim-process.ts';

export const edgeUrl = new URL('http://127.0.0.1:8787');

/** What the simulation reads of an agent's own status. */
export interface AgentView {
  readonly live: number;
  readonly kept: { readonly bytes: number; readonly resumed: number };
  readonly link: { readonly state: string };
  readonly replicas: readonly { readonly state: string }[];
}

interface RunningAgent {
  start(): void;
  stop(drainMs?: number): Promise<void>;
  readonly status: AgentView;
}

interface AgentExports {
  readonly Agent: new (options: object) => RunningAgent;
  readonly attachedSource: (config: EngineConfig, source: object) => object;
  readonly parseConfig: (
    argv: readonly string[],
    environment: object,
    options: object,
  ) => { readonly config: { readonly engines: readonly EngineConfig[] } };
  readonly knownProfiles: object;
}

interface EngineConfig {
  readonly source: object;
}

export interface AgentOptions {
  readonly name: string;
  readonly schedule: Schedule;
  readonly trace: Trace;
  readonly chance: Chance;
  readonly program: Program;
  readonly fleetSecret: string;
  readonly engines: readonly SimEngine[];
  readonly clockSkewMs: () => number;
  readonly loopbackMs: () => number;
  readonly dial: (agent: SimAgent, authorization: string, region: string, events: DialEvents) => void;
}

/** How DER begins that holds an Ed25519 private key. */
const privateKeyPrefix = Buffer.from('302e020100300506032b657004220420', 'hex');

export class SimAgent {
  readonly name: string;
  readonly node: NodeId;
  readonly engines: readonly SimEngine[];
  /** The link's connection, if the agent has one. */
  connection: Connection | undefined;
  /** Since when it is that one. */
  connectedAtMs = 0;
  /** Why it ended for good, if it did. */
  fatal: string | undefined;
  readonly #options: AgentOptions;
  readonly #key: KeyObject;
  readonly #publicKey: string;
  #process: SimProcess | undefined;
  #agent: RunningAgent | undefined;
  #lives = 0;
  /** Outlives them, as a file does. */
  #lastDialMs = 0;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.name = options.name;
    this.engines = options.engines;
    const seed = createHash('sha256').update(`key of ${options.name}`).digest();
    const der = Buffer.concat([privateKeyPrefix, seed]);
    this.#key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    this.#publicKey = createPublicKey(this.#key).export({ format: 'jwk' }).x ?? '';
    this.node = nodeIdOf(createHash('sha256').update(Buffer.from(this.#publicKey, 'base64url')).digest());
  }

  get isRunning(): boolean {
    return this.#agent !== undefined;
  }

  get status(): AgentView | undefined {
    return this.#agent?.status;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  start(): void {
    if (this.#agent !== undefined) return;
    const { schedule, trace, chance, clockSkewMs, program, engines, loopbackMs, dial } = this.#options;
    this.#lives += 1;
    const name = `${this.name}#${this.#lives}`;
    const process = new SimProcess(name, schedule, trace, chance.fork(name));
    process.clockSkewMs = clockSkewMs;
    const world: AgentWorld = {
      process,
      loopbackMs,
      engineAt: (origin) => engines.find((engine) => engine.origin === origin),
      dial: (url, authorization, events) =>
        dial(this, authorization, new URL(url).searchParams.get('region') ?? '', events),
    };
    const made = program(globalsOf(process), agentModules(world)) as unknown as AgentExports;
    this.#process = process;
    this.#agent = new made.Agent(this.#optionsOf(process, made));
    this.#agent.start();
    process.note('starts');
  }

  #optionsOf(process: SimProcess, { parseConfig, knownProfiles, attachedSource }: AgentExports): object {
    const urls = this.engines.flatMap(({ origin }) => ['--engine-url', origin, '--profile', 'vllm']);
    const argv = ['--edge', edgeUrl.href, '--name', this.name, ...urls];
    const { config } = parseConfig(argv, {}, { profiles: knownProfiles, hostsOwn: '/nowhere/agent.toml' });
    return {
      config,
      sources: config.engines.map((engine) => attachedSource(engine, engine.source)),
      moves: undefined,
      powerSources: [],
      environment: {},
      identity: this.#identity(process),
      clock: { wallMs: () => process.wallMs, monotonicMs: () => process.schedule.nowMs },
      random: process.chance.next,
      log: (_level: string, event: string, fields?: object) =>
        process.note(`${event} ${fields === undefined ? '' : JSON.stringify(fields)}`.trim()),
      onJoined: () => {},
      onFatal: (why: string) => {
        this.fatal = why;
        process.note(`cannot go on: ${why}`);
      },
    };
  }

  #identity(process: SimProcess): object {
    const certificate = createHmac('sha256', this.#options.fleetSecret)
      .update(certificateText(this.node))
      .digest('base64url');
    return {
      node: this.node,
      isEnrolledAt: () => true,
      enrol: async () => {},
      forget: () => {},
      dialHeader: (_edge: URL, region: '') => {
        this.#lastDialMs = nextDialMs(this.#lastDialMs, process.wallMs);
        const nonce = Buffer.from(String(process.chance.next())).toString('base64url').padEnd(24, 'x');
        const dial = { node: this.node, timeMs: this.#lastDialMs, nonce };
        const text = dialText(edgeUrl.origin, region, dial);
        const signature = sign(null, text, this.#key).toString('base64url');
        return formatDial({ ...dial, publicKey: this.#publicKey, certificate, signature });
      },
    };
  }

  /** Ends at once, as by SIGKILL. */
  crash(): void {
    this.vanish();
    this.connection?.cut(['object']);
  }

  /** The same, and nobody is told; what it sent may still arrive. */
  vanish(): void {
    this.#process?.note('crashes');
    this.#process?.kill();
    this.#process = undefined;
    this.#agent = undefined;
  }

  /** Ends as it is asked to: takes no more, finishes what runs. */
  drain(drainMs: number, onEnd: () => void): void {
    const agent = this.#agent;
    const process = this.#process;
    process?.run(() => {
      void agent?.stop(drainMs).then(() => {
        if (this.#process !== process) return;
        process.note('stopped');
        process.kill();
        this.#process = undefined;
        this.#agent = undefined;
        onEnd();
      });
    });
  }
}
