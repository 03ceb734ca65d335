/**
 * A whole Cognitora in real processes: the edge on plain workerd, agents as they are deployed, keys and join tokens
 * from the admin API. Everything lives in one temporary directory and ends with `stop`, which fails when a process
 * is left. Two regions unless a test says otherwise: nothing may assume one.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import OpenAI from 'openai';
import { freePort } from '../../cli/src/free-port.ts';
import { type EdgeOptions, type RunningEdge, startEdge } from '../../cli/src/workerd.ts';
import { buildEdge } from '../../scripts/build-edge.ts';
import { leftoversOf } from './leftovers.ts';
import { ClusterLog } from './log.ts';
import { Program } from './program.ts';
import { until } from './until.ts';

export const layouts = ['one-object', 'object-per-node'] as const;
export type Layout = (typeof layouts)[number];

export interface AgentSpec {
  readonly name: string;
  /** URLs of its engines. */
  readonly engines: readonly string[];
  /** Where they publish events of their KV caches, in the order of `engines`. */
  readonly kvEvents?: readonly { readonly live: string; readonly replay: string }[];
  /**
   * Where its engines save slots, in the order of `engines`, and the directory that hosts share, or the socket of the
   * host's kvcached.
   */
  readonly kvMoves?: { readonly slots: readonly string[] } & (
    | { readonly handover: string }
    | { readonly kvcached: string }
  );
  /** The edge's first one if absent. */
  readonly region?: string;
  /** Public name -> served name. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Where it dials, if not at the cluster's own URL: a proxy's. */
  readonly edge?: string;
  /** The text of a configuration file, for engines that options cannot describe. */
  readonly config?: string;
  /** Beside what every agent gets. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface ClusterOptions {
  readonly layout: Layout;
  readonly regions?: readonly string[];
  readonly agents?: readonly AgentSpec[];
  /** More origins under which agents may dial. */
  readonly origins?: readonly string[];
  /** Replicas of one cell, for regions of many cells. */
  readonly cellReplicasMax?: number;
}

/** What the edge knows of a replica's cache of one model. */
export interface CacheView {
  readonly model: string;
  readonly trust: 'exact' | 'approximate' | 'blind';
  readonly heldBlocks: number;
  readonly hostBlocks: number;
  readonly predictedTokens: number;
  readonly confirmedTokens: number;
}

export interface ReplicaView {
  readonly name: string;
  readonly state: string;
  readonly role: string;
  /** Of one that failed. */
  readonly why?: string;
  readonly failing: boolean;
  readonly models: readonly string[];
  readonly caches: readonly CacheView[];
  readonly live: number;
  /** Absent while nobody knows. */
  readonly load?: Readonly<Record<string, unknown>>;
}

export interface NodeView {
  readonly node: string;
  readonly name: string;
  readonly epoch: number;
  readonly live: number;
  readonly replicas: readonly ReplicaView[];
  readonly gpus: readonly Readonly<Record<string, unknown>>[];
  /** Of one whose KV daemon is in the fleet. */
  readonly kv?: { readonly reach: readonly unknown[]; readonly replicas: readonly unknown[] };
}

export interface RegionView {
  readonly region: string;
  readonly links: number;
  readonly streams: number;
  readonly nodes: readonly NodeView[];
}

export interface CreatedKey {
  readonly id: string;
  readonly key: string;
}

const root = resolve(import.meta.dirname, '../..');
const agentMain = join(root, 'node-agent/src/main.ts');
const portTriesMax = 5;
/** An agent's engines may need a look or two before they are ready. */
const readyMsMax = 20_000;

export class Cluster implements AsyncDisposable {
  readonly url: string;
  readonly log: ClusterLog;
  readonly adminKey: string;
  readonly directory: string;
  /** May chat and embed. */
  apiKey = '';
  readonly #edgeOptions: EdgeOptions;
  #edge: RunningEdge;
  readonly #programs = new Map<string, Program>();
  #joinToken = '';
  #stopped = false;

  constructor({ edge, options }: OpenedEdge, directory: string, adminKey: string, log: ClusterLog) {
    this.#edge = edge;
    this.#edgeOptions = options;
    this.url = edge.url;
    this.directory = directory;
    this.adminKey = adminKey;
    this.log = log;
    // workerd has no pipe to its parent: a test run that ends early must not leave it behind.
    process.once('exit', this.#killEdge);
  }

  readonly #killEdge = (): void => {
    process.kill(this.#edge.pid, 'SIGKILL');
  };

  /** The edge crashes and is started again on the same data: all that objects had in memory is lost. */
  async crashEdge(): Promise<void> {
    const { pid } = this.#edge;
    this.#killEdge();
    // No goodbye, but its port is free only once it is gone.
    await until('workerd to be gone', () => !isAlive(pid));
    this.#edge = await startEdge(this.#edgeOptions);
  }

  /** Makes the keys, starts the agents, waits until each of their replicas is ready. */
  async bringUp(agents: readonly AgentSpec[]): Promise<void> {
    this.apiKey = (await this.createKey(['chat', 'embeddings'])).key;
    const token = await this.admin<{ joinToken: string }>('POST', '/admin/join-tokens', {});
    this.#joinToken = token.joinToken;
    await Promise.all(agents.map((spec) => this.startAgent(spec)));
  }

  async startAgent(spec: AgentSpec): Promise<Program> {
    const aliases = Object.entries(spec.aliases ?? {});
    const program = this.startProgram(
      spec.name,
      [
        agentMain,
        ...['--config', this.#configFile(spec)],
        ...['--edge', spec.edge ?? this.url, '--name', spec.name],
        ...['--data-dir', join(this.directory, 'agents', spec.name)],
        ...spec.engines.flatMap((url) => ['--engine-url', url]),
        ...(spec.kvEvents ?? []).flatMap(({ live, replay }) => [
          ...['--kv-events', live, '--kv-events-replay', replay],
        ]),
        ...(spec.kvMoves?.slots ?? []).flatMap((directory) => ['--kv-directory', directory]),
        ...handoverOf(spec.kvMoves),
        ...(spec.region === undefined ? [] : ['--region', spec.region]),
        ...aliases.flatMap(([publicName, served]) => ['--alias', `${publicName}=${served}`]),
      ],
      { COGNITORA_JOIN_TOKEN: this.#joinToken, ...spec.environment },
    );
    await this.node(spec.name, (node) => node.replicas.every((replica) => replica.state === 'ready'));
    return program;
  }

  #configFile({ name, config }: AgentSpec): string {
    if (config === undefined) return '/dev/null';
    const path = join(this.directory, `${name}.toml`);
    writeFileSync(path, config);
    return path;
  }

  /** Starts one more program whose end is part of the cluster's. */
  startProgram(name: string, argv: readonly string[], environment: Record<string, string> = {}): Program {
    const { directory, log } = this;
    const program = new Program({ name, argv, environment, directory, log });
    this.#programs.set(name, program);
    return program;
  }

  program(name: string): Program {
    const program = this.#programs.get(name);
    if (program === undefined) throw new Error(`the cluster has no program ${name}`);
    return program;
  }

  /** Waits until the node of that name is as asked. */
  node(name: string, isAsAsked: (node: NodeView) => boolean = () => true): Promise<NodeView> {
    return until(
      `the node ${name} to be as asked`,
      async () => {
        if (this.#programs.get(name)?.isGone) throw new Error(`the agent ${name} ended`);
        const nodes = (await this.regions()).flatMap((region) => region.nodes);
        return nodes.find((node) => node.name === name && isAsAsked(node));
      },
      readyMsMax,
    );
  }

  async regions(): Promise<readonly RegionView[]> {
    const { regions } = await this.admin<{ regions: readonly RegionView[] }>('GET', '/admin/nodes');
    return regions;
  }

  createKey(scopes: readonly string[], extra: Record<string, unknown> = {}): Promise<CreatedKey> {
    return this.admin<CreatedKey>('POST', '/admin/keys', { name: 'test', scopes, ...extra });
  }

  async admin<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.adminKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
    return JSON.parse(text) as Answer;
  }

  /** The official SDK against this edge; it never retries, so that a test sees the first answer. */
  sdk(apiKey: string = this.apiKey): OpenAI {
    return new OpenAI({ baseURL: `${this.url}/v1`, apiKey, maxRetries: 0, timeout: 60_000 });
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const stops = await Promise.allSettled([...this.#programs.values()].map((program) => program.stop()));
    await this.#edge.stop();
    process.removeListener('exit', this.#killEdge);
    const leftovers = leftoversOf(this.directory);
    for (const { pid } of leftovers) process.kill(pid, 'SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
    const failed = stops.flatMap((stop) => (stop.status === 'rejected' ? [String(stop.reason)] : []));
    for (const { pid, command } of leftovers) failed.push(`process ${pid} was left behind: ${command}`);
    if (failed.length > 0) throw new Error(`the cluster did not end cleanly: ${failed.join('; ')}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

interface OpenedEdge {
  readonly edge: RunningEdge;
  readonly options: EdgeOptions;
}

const openEdge = async (
  { regions = ['weur', 'enam'], layout, origins = [], cellReplicasMax }: ClusterOptions,
  directory: string,
  adminKey: string,
  log: ClusterLog,
): Promise<OpenedEdge> => {
  for (let tries = 1; ; tries += 1) {
    const options: EdgeOptions = {
      dataDirectory: directory,
      host: '127.0.0.1',
      // The origins an agent may dial name the port, so it is chosen beforehand.
      port: await freePort(),
      ...{ regions, layout, origins },
      adminKeyHash: createHash('sha256').update(adminKey).digest('hex'),
      fleetSecret: randomBytes(32).toString('base64url'),
      ...(cellReplicasMax === undefined ? {} : { cellReplicasMax }),
      onOutput: (line) => log.add('workerd', line),
      onExit: (code, signal) => log.add('workerd', `ended: ${signal ?? code}`),
    };
    try {
      return { edge: await startEdge(options), options };
    } catch (thrown) {
      if (tries === portTriesMax || !/in use/.test(String(thrown))) throw thrown;
    }
  }
};

const handoverOf = (moves: AgentSpec['kvMoves']): readonly string[] => {
  if (moves === undefined) return [];
  return 'kvcached' in moves ? ['--kvcached', moves.kvcached] : ['--kv-handover', moves.handover];
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Starts everything and waits until it serves. When that fails, what the processes said is in the error. */
export const startCluster = async (options: ClusterOptions): Promise<Cluster> => {
  buildEdge();
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-test-'));
  const adminKey = `cga_${randomBytes(24).toString('base64url')}`;
  const log = new ClusterLog();
  const cluster = new Cluster(await openEdge(options, directory, adminKey, log), directory, adminKey, log);
  try {
    await cluster.bringUp(options.agents ?? []);
    return cluster;
  } catch (thrown) {
    await cluster.stop().catch(() => {});
    throw new Error(`the cluster did not come up: ${String(thrown)}\n${log.text()}`);
  }
};
