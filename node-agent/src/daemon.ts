/**
 * The agent's composition root: engines, identity and one link at a time, dialled again whenever it ends. Owns the set
 * of live requests and the graceful stop; decides nothing about where requests go.
 */
import type { AgentStatus, LinkState, LinkStatus, ReplicaStatus } from '@cognitora/protocol/agent-status';
import type { ErrorCode } from '@cognitora/protocol/errors';
import { messageOf } from '@cognitora/protocol/errors';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { LateSweeps } from '@cognitora/protocol/late-sweeps';
import {
  agentLinkWindowBytes,
  agentStreamWindowBytes,
  drainMsMax,
  redialKeptMsMax,
  redialMsMax,
} from '@cognitora/protocol/limits';
import {
  type Goaway,
  type Hello,
  linkPath,
  type OpenRequest,
  versionMax,
  versionMin,
  type Welcome,
} from '@cognitora/protocol/link';
import { readReply } from '@cognitora/protocol/prefix/reply';
import { version } from '@cognitora/protocol/version';
import type { Clock } from './clock.ts';
import type { AgentConfig } from './config/agent-config.ts';
import { Engine } from './engines/engine.ts';
import { offersOf, pollMsOf } from './engines/looks-of.ts';
import { engineProfiles } from './engines/profiles/profiles.ts';
import type { EngineSource } from './engines/source.ts';
import { type TokenizerHint, tokenizerHint } from './engines/tokenizer-hint.ts';
import { EnrolmentRefused, type HostIdentity } from './identity.ts';
import type { KvFleet } from './kv-daemon/kv-fleet.ts';
import { redialDelayMs } from './link/backoff.ts';
import { fitReports } from './link/fit-reports.ts';
import { KeptStreams } from './link/kept-streams.ts';
import type { ServedStream, StreamReply } from './link/session.ts';
import { LinkSocket } from './link/socket.ts';
import type { Log } from './log.ts';
import type { ConfiguredMoves } from './moves/configured-moves.ts';
import { KvMoves } from './moves/kv-moves.ts';
import { type RequestWatch, ServedRequest } from './serve.ts';
import { counted, ReplicaCounters } from './status/counters.ts';
import { HostTelemetry, type WatchedReplica } from './telemetry/host-telemetry.ts';
import type { PowerSource } from './telemetry/power-source.ts';
import { type EventPlace, KvTruth, type KvTruthOptions } from './truth/kv-truth.ts';

const agentVersion = `cognitora-agent/${version}`;

export interface AgentOptions {
  readonly config: Pick<AgentConfig, 'edge' | 'region' | 'name' | 'joinToken' | 'joinTokenMissing'>;
  /** Of the configured engines. */
  readonly sources: readonly EngineSource[];
  /** How KV moves to and from other hosts; undefined: it does not. */
  readonly moves: ConfiguredMoves | undefined;
  /** Where figures of this host's GPUs come from. */
  readonly powerSources: readonly PowerSource[];
  /** The agent's own, for where models lie. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly identity: HostIdentity;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** The edge accepted the link. */
  readonly onJoined: (welcome: Welcome) => void;
  /** The agent can't go on; `why` says what to do. */
  readonly onFatal: (why: string) => void;
}

const sweepMs = 1_000;

export class Agent {
  readonly #options: AgentOptions;
  readonly #engines = new Map<ReplicaName, Engine>();
  readonly #sources = new Map<ReplicaName, EngineSource>();
  readonly #counters = new Map<ReplicaName, ReplicaCounters>();
  readonly #live = new Set<ServedRequest>();
  readonly #kept: KeptStreams;
  readonly #truth: KvTruth;
  readonly #telemetry: HostTelemetry;
  readonly #moves: KvMoves | undefined;
  readonly #fleet: KvFleet | undefined;
  #link: LinkSocket | undefined;
  #redial: NodeJS.Timeout | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #failures = 0;
  #redials = 0;
  #stopping = false;
  #linkStatus: LinkStatus;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { config: ours, clock, environment, log, moves, powerSources, sources } = options;
    this.#linkStatus = { state: 'dialling', edge: ours.edge.origin, sinceMs: clock.wallMs(), redials: 0 };
    const events = new Map<ReplicaName, EventPlace>();
    const tokenizers = new Map<ReplicaName, TokenizerHint>();
    const replicas: WatchedReplica[] = [];
    for (const source of sources) {
      const { config, url, kvEvents } = source;
      const { name, role, apiKey, aliases, timeouts } = config;
      const profile = engineProfiles.get(config.profile);
      const healthPath = profile?.health?.path;
      const { continues, reportsProgress } = profile ?? {};
      const isLaunched = config.source.kind === 'launched';
      const offers = offersOf(config);
      const pollMs = pollMsOf(config);
      const onChange = (): void => this.#changed(engine);
      const onHang = (why: string): void => source.hung(why);
      const engine: Engine = new Engine({
        ...{
          name,
          role,
          url,
          isLaunched,
          apiKey,
          aliases,
          healthPath,
          continues,
          reportsProgress,
          offers,
          pollMs,
          timeouts,
          log,
          onChange,
          onHang,
        },
      });
      this.#engines.set(name, engine);
      this.#sources.set(name, source);
      const counters = new ReplicaCounters();
      this.#counters.set(name, counters);
      replicas.push({ engine, config, counters, metrics: profile?.metrics });
      if (kvEvents !== undefined) events.set(name, { kind: 'zmq', endpoints: kvEvents });
      else if (profile?.kvEvents?.kind === 'poll') events.set(name, profile.kvEvents);
      const hint = tokenizerHint(config, environment);
      if (hint !== undefined) tokenizers.set(name, hint);
    }
    this.#kept = new KeptStreams({ serve: (open, reply) => this.#serve(open, reply), clock });
    this.#telemetry = new HostTelemetry({ replicas, sources: powerSources, clock, log });
    const engines = this.#engines;
    const onSettled: KvTruthOptions['onSettled'] = (name, settled) => this.#moves?.settled(name, settled);
    this.#truth = new KvTruth({ clock, log, readReply, engines, events, tokenizers, onSettled });
    const heldOf = (name: ReplicaName) => this.#truth.hostOf(name);
    this.#moves = moves && new KvMoves({ ...moves, engines, heldOf, clock, log });
    this.#fleet = moves?.fleet;
  }

  start(): void {
    for (const [name, engine] of this.#engines) {
      const began = (url: URL): void => engine.start(url);
      this.#sources.get(name)?.start({ began, ended: (why) => engine.end(why) });
    }
    this.#telemetry.start();
    const { clock } = this.#options;
    const lateSweeps = new LateSweeps(sweepMs, clock.monotonicMs());
    this.#sweeper = setInterval(() => {
      const nowMs = clock.monotonicMs();
      if (!lateSweeps.isLate(nowMs)) this.#sweep(nowMs);
    }, sweepMs);
    void this.#dial();
  }

  /** Takes no more work, finishes what runs (at most `drainMsMax`), gives up the rest, then closes. */
  async stop(drainMs: number = drainMsMax): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#linkIs('stopping');
    clearTimeout(this.#redial);
    this.#link?.leave();
    for (const source of this.#sources.values()) source.drain();
    const deadline = this.#options.clock.monotonicMs() + drainMs;
    while (this.#live.size > 0 && this.#options.clock.monotonicMs() < deadline) await delay(50);
    for (const request of [...this.#live]) request.giveUp();
    // One more tick, so that the last END is on its way before the socket closes.
    await delay(20);
    this.#link?.close('the agent stopped');
    this.#kept.stop();
    this.#moves?.stop();
    this.#fleet?.stop();
    this.#truth.stop();
    this.#telemetry.stop();
    clearInterval(this.#sweeper);
    await Promise.all([...this.#engines.values()].map((engine) => engine.stop()));
    await Promise.all([...this.#sources.values()].map((source) => source.stop()));
  }

  #sweep(nowMs: number): void {
    for (const request of [...this.#live]) request.sweep(nowMs);
    this.#kept.sweep(nowMs);
    for (const engine of this.#engines.values()) {
      engine.sweep(nowMs, () => [...this.#live].some((request) => request.excuses(engine)));
    }
  }

  /** The operator asks: engines that were given up are tried again. */
  retry(): void {
    for (const source of this.#sources.values()) source.retry();
  }

  get status(): AgentStatus {
    const { identity, config } = this.#options;
    return {
      agent: agentVersion,
      node: identity.node,
      name: config.name,
      link: { ...this.#linkStatus, redials: this.#redials },
      live: this.#live.size,
      kept: this.#kept.status,
      replicas: [...this.#sources.values()].flatMap((source) => this.#replicaStatus(source)),
      gpus: this.#telemetry.gpus,
      ...(this.#fleet === undefined ? {} : { kvcached: this.#fleet.status }),
    };
  }

  #replicaStatus({ config, launch }: EngineSource): ReplicaStatus[] {
    const { name, profile, role, kvOffload, source } = config;
    const engine = this.#engines.get(name);
    const counters = this.#counters.get(name);
    if (engine === undefined || counters === undefined) return [];
    const { live, requests, bodyBytes, errors, answers } = counters;
    const { state, models } = engine.report;
    const load = this.#telemetry.loadOf(name);
    const moves = this.#moves?.statusOf(name);
    return [
      {
        ...{ name, profile, role, kvOffload, source: source.kind, state },
        ...(launch === undefined ? {} : { launch }),
        ...(engine.trouble === undefined ? {} : { why: engine.trouble }),
        models: models.map(({ id }) => id),
        ...{ live, requests, bodyBytes },
        errors: Object.fromEntries(errors),
        answers: Object.fromEntries(answers),
        caches: this.#truth.cachesOf(name),
        ...(load === undefined ? {} : { load }),
        ...(moves === undefined ? {} : { moves }),
      },
    ];
  }

  #linkIs(state: LinkState, more: Pick<LinkStatus, 'region' | 'epoch' | 'why'> = {}): void {
    const { clock, config } = this.#options;
    const sinceMs = clock.wallMs();
    this.#linkStatus = { state, edge: config.edge.origin, sinceMs, redials: this.#redials, ...more };
  }

  async #dial(): Promise<void> {
    const { config, identity } = this.#options;
    if (!(await this.#enrolled()) || this.#stopping) return;
    const region = config.region ?? '';
    const url = new URL(linkPath, config.edge);
    url.protocol = config.edge.protocol === 'https:' ? 'wss:' : 'ws:';
    if (region !== '') url.searchParams.set('region', region);
    const link: LinkSocket = new LinkSocket({
      url: url.href,
      authorization: identity.dialHeader(config.edge, region),
      hello: this.#hello(),
      clock: this.#options.clock,
      serve: (open, reply) => this.#kept.serve(open, reply),
      resume: (request) => this.#kept.resume(request),
      onKvWanted: (want) => this.#truth.wanted(link, want),
      onKvFabric: (fabric) => this.#fleet?.fabric(link, fabric),
      onKvHolders: (holders) => this.#fleet?.holders(link, holders),
      onIdle: () => this.#truth.idle(link),
      onWelcome: (welcome) => this.#welcomed(link, welcome),
      onGoaway: (goaway) => this.#goaway(link, goaway),
      onClose: (why, refusal) => this.#closed(link, why, refusal),
    });
    this.#link = link;
  }

  /** Whether a dial makes sense now; enrols first where the edge does not know this host. */
  async #enrolled(): Promise<boolean> {
    const { config, identity, log, onFatal } = this.#options;
    if (identity.isEnrolledAt(config.edge)) return true;
    if (config.joinToken === undefined) {
      const { joinTokenMissing: path } = config;
      const joined = identity.joined.join(', ');
      const others = joined && ` It has joined ${joined}: another URL counts as another edge.`;
      const fix =
        path === undefined
          ? ' Give it a token: "cgn keys join", then COGNITORA_JOIN_TOKEN.'
          : ` A token is missing, too: ${path} is not there, and "cgn keys join" makes one.`;
      onFatal(`This host has not joined ${config.edge.origin}.${others}${fix}`);
      return false;
    }
    try {
      await identity.enrol(config.edge, config.joinToken, config.name);
      log('info', 'joined', { node: identity.node, edge: config.edge.origin });
      return true;
    } catch (thrown) {
      const why = messageOf(thrown);
      if (thrown instanceof EnrolmentRefused) onFatal(`The edge refused to let this host join: ${why}`);
      else this.#dialLater(`the edge does not answer: ${why}`);
      return false;
    }
  }

  #hello(): Hello {
    return {
      versionMin,
      versionMax,
      agent: agentVersion,
      name: this.#options.config.name,
      streamWindowBytes: agentStreamWindowBytes,
      linkWindowBytes: agentLinkWindowBytes,
      replicas: this.#replicas(),
    };
  }

  #replicas(): Hello['replicas'] {
    return fitReports([...this.#engines.values()].map((engine) => engine.report));
  }

  /** What the engine's cache held is taken back before the edge hears anything else of it. */
  #changed(engine: Engine): void {
    this.#sources.get(engine.name)?.seen(engine.report.state === 'ready');
    this.#truth.changed(engine);
    this.#moves?.changed(engine);
    this.#fleet?.changed();
    this.#report();
  }

  #report(): void {
    this.#link?.replicas(this.#replicas());
  }

  #welcomed(link: LinkSocket, welcome: Welcome): void {
    this.#failures = 0;
    this.#kept.linked();
    const { region, epoch } = welcome;
    this.#linkIs('linked', { region, epoch });
    this.#options.log('info', 'linked', { edge: this.#options.config.edge.origin, region, epoch });
    // An engine may have changed between HELLO and now.
    this.#report();
    this.#truth.linked(link, welcome.prefix);
    this.#telemetry.linked(link);
    this.#fleet?.linked(link, () => this.#moves?.movers ?? []);
    this.#options.onJoined(welcome);
  }

  #goaway(link: LinkSocket, goaway: Goaway): void {
    if (link !== this.#link) return;
    this.#options.log('warn', 'the edge says go away', { code: goaway.code, why: goaway.message });
    if (goaway.code === 'superseded' || goaway.code === 'version_unsupported') {
      this.#stopping = true;
      const why =
        goaway.code === 'superseded'
          ? "another agent with this host's key linked: give each its own --data-dir."
          : goaway.message;
      this.#options.onFatal(`The edge ended this link for good: ${why}`);
    } else link.close(`asked to leave: ${goaway.code}`);
  }

  #closed(link: LinkSocket, why: string, refusal?: ErrorCode): void {
    this.#truth.unlinked(link);
    this.#telemetry.unlinked(link);
    this.#fleet?.unlinked(link);
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#kept.unlinked();
    if (this.#stopping) return;
    const { config, identity } = this.#options;
    // The edge was set up anew; with a token at hand this host joins it again.
    if (refusal === 'not_enrolled') identity.forget(config.edge);
    this.#dialLater(why);
  }

  #dialLater(why: string): void {
    if (this.#stopping) return;
    const msMax = this.#kept.status.detached > 0 ? redialKeptMsMax : redialMsMax;
    const inMs = redialDelayMs(this.#failures, this.#options.random(), msMax);
    this.#failures += 1;
    this.#linkIs('waiting', { why });
    this.#options.log('warn', 'link closed, dialling again', { why, inMs, failures: this.#failures });
    clearTimeout(this.#redial);
    this.#redial = setTimeout(() => {
      this.#redials += 1;
      this.#linkIs('dialling', { why });
      void this.#dial();
    }, inMs);
  }

  #serve(open: OpenRequest, reply: StreamReply): ServedStream {
    const engine = this.#engines.get(open.replica);
    const counters = this.#counters.get(open.replica);
    const model = engine?.use(open.model);
    if (engine === undefined || counters === undefined || model === undefined) {
      const message = `The replica no longer serves ${JSON.stringify(open.model)}.`;
      reply.fail({ code: 'replica_gone', message, record: { bodyBytes: 0, totalMs: 0 } });
      return ignoredStream(reply);
    }
    const { reply: through, over } = counted(reply, counters);
    const request: ServedRequest = new ServedRequest({
      engine,
      model,
      open,
      reply: through,
      clock: this.#options.clock,
      onOver: () => {
        this.#live.delete(request);
        over();
      },
      watch: this.#watch(open),
    });
    this.#live.add(request);
    return request;
  }

  #watch(open: OpenRequest): RequestWatch | undefined {
    const prompt = this.#truth.watch(open);
    return prompt && (this.#moves?.watch(open, prompt) ?? prompt);
  }
}

/** A stream that has failed already: what still comes of its body only gives its credit back. */
const ignoredStream = (reply: StreamReply): ServedStream => ({
  body: (bytes) => reply.consumed(bytes.length),
  cancel: () => {},
  drained: () => {},
});

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
