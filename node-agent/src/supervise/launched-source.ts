/**
 * One engine that the agent starts: does what the state machine says with a process group, ports, files and a log, and
 * tells whoever watches when the engine is there and when it is not. Knows no engine by name, and nothing of requests.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LaunchStatus } from '@cognitora/protocol/agent-status';
import { engineWords } from '@cognitora/protocol/engine-words';
import { messageOf } from '@cognitora/protocol/errors';
import type { Clock } from '../clock.ts';
import type { EngineConfig, KvEventEndpoints, LaunchedEngine } from '../engines/engine-config.ts';
import { type Launch, launchOf } from '../engines/profiles/launch.ts';
import type { EngineProfile } from '../engines/profiles/profile.ts';
import { type EngineSource, replicaDirectory, type SourceWatch, secretsOf } from '../engines/source.ts';
import type { Log } from '../log.ts';
import { EngineLog } from './engine-log.ts';
import { crashesMax, killedMsMax, livedMsMin, stopMsMax } from './limits.ts';
import { OutputBudget, readPaced } from './paced-output.ts';
import type { PortAllocator } from './ports.ts';
import { ProcessGroup } from './process-group.ts';
import { advance, type Supervision, type SupervisionEvent, unstarted } from './supervision.ts';

export interface LaunchedOptions {
  readonly config: EngineConfig;
  readonly source: LaunchedEngine;
  readonly profile: EngineProfile;
  readonly dataDirectory: string;
  /** The agent's own. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly ports: PortAllocator;
  readonly clock: Clock;
  readonly log: Log;
}

/** Lines of an engine that is about to be forgotten get this long to reach its file. */
const lastLinesMs = 1_000;
/** The end of what it wrote, for one value of our log. */
const saidCharsMax = 1_500;
/** Before lines of our own among those of the engine. */
const ours = '[agent]';

/** What the agent is told by its own variables (tokens, whose pipe to watch) is none of an engine's business. */
const inherited = (environment: LaunchedOptions['environment']): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('COGNITORA_')));

class LaunchedSource implements EngineSource {
  readonly config: EngineConfig;
  readonly kvEvents: KvEventEndpoints | undefined;
  readonly #options: LaunchedOptions;
  readonly #directory: string;
  readonly #output: EngineLog;
  readonly #outputBudget = new OutputBudget();
  #firstPort: number;
  #supervision: Supervision;
  #group: ProcessGroup | undefined;
  /** Why we asked it to end, though it is to run. */
  #whyEnding: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #watch: SourceWatch | undefined;
  #tellStopped: () => void = () => {};

  constructor(options: LaunchedOptions, firstPort: number) {
    const { config, dataDirectory } = options;
    this.#options = options;
    this.config = config;
    this.#supervision = unstarted(options.source.loadingMsMax);
    this.#directory = replicaDirectory(dataDirectory, config.name);
    this.#output = new EngineLog(join(dataDirectory, 'logs', `${config.name}.log`), secretsOf(config));
    this.#firstPort = firstPort;
    this.kvEvents = this.#launch().kvEvents;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#firstPort}`);
  }

  get launch(): LaunchStatus {
    const { state, restarts } = this.#supervision;
    return {
      state,
      ...(this.#group?.pid === undefined ? {} : { pid: this.#group.pid, url: this.url.href }),
      restarts: Math.max(0, restarts),
      lastLines: [...this.#output.lastLines],
      logPath: this.#output.path,
    };
  }

  start(watch: SourceWatch): void {
    this.#watch = watch;
    this.#happened('asked');
  }

  seen(isReady: boolean): void {
    this.#happened(isReady ? 'healthy' : 'unhealthy');
  }

  hung(why: string): void {
    this.#whyEnding = why;
    this.#happened('hung');
  }

  drain(): void {
    this.#happened('drain');
  }

  retry(): void {
    if (this.#supervision.state === 'gave-up') this.#happened('asked');
  }

  async stop(): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#tellStopped = resolve;
    });
    this.#happened('stop');
    const late = setTimeout(() => {
      this.#say('error', 'engine process cannot be killed', { pid: this.#group?.pid });
      this.#tellStopped();
    }, stopMsMax + killedMsMax);
    await stopped;
    clearTimeout(late);
    await this.#output.close(lastLinesMs);
  }

  #happened(event: SupervisionEvent): void {
    const { next, action } = advance(this.#supervision, event, this.#options.clock.monotonicMs());
    this.#supervision = next;
    if (action === 'spawn') void this.#spawn();
    if (action === 'terminate') this.#group?.terminate();
    if (action === 'terminate' && next.state === 'ending') this.#tellEnding();
    if (action === 'kill') {
      this.#say('warn', 'engine process did not end when asked, killed', { pid: this.#group?.pid });
      this.#group?.kill();
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (next.dueMs !== undefined) {
      const inMs = Math.max(0, Math.ceil(next.dueMs - this.#options.clock.monotonicMs()));
      this.#timer = setTimeout(() => this.#happened('tick'), inMs);
    }
    if (next.state === 'stopped') this.#tellStopped();
  }

  /** Nobody is to use it any more, however it answers now. */
  #tellEnding(): void {
    const seconds = Math.round(this.#options.source.loadingMsMax / 1_000);
    this.#whyEnding ??= `was not ready after ${seconds} s (loading_timeout)`;
    this.#output.line(`${ours} ${this.#whyEnding}, asked to end`);
    this.#say('error', 'engine process asked to end', { pid: this.#group?.pid, why: this.#whyEnding });
    this.#watch?.ended(`${this.#whyEnding}, asked to end`);
  }

  /** What is run now, with the ports that it has. */
  #launch(): Launch {
    const { config, source, profile } = this.#options;
    return launchOf(profile, {
      config: source,
      role: config.role,
      kvOffload: config.kvOffload,
      host: '127.0.0.1',
      ports: { http: this.#firstPort, transfer: this.#firstPort + 1 },
      directory: this.#directory,
    });
  }

  /** Without `await` between the look at the state and the start: nothing is started that was stopped. */
  async #spawn(): Promise<void> {
    try {
      const { ports, source } = this.#options;
      this.#firstPort = await ports.row(portsOf(source), this.#firstPort);
      if (this.#supervision.state !== 'starting') return;
      const launch = this.#launch();
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      if (source.kvDirectory !== undefined) mkdirSync(source.kvDirectory, { recursive: true, mode: 0o770 });
      for (const [path, content] of launch.files) writeFileSync(path, content, { mode: 0o600 });
      this.#run(launch);
    } catch (thrown) {
      this.#ended(`could not be started: ${messageOf(thrown)}`);
    }
  }

  #run({ program, argv, environment }: Launch): void {
    const group: ProcessGroup = new ProcessGroup({
      program,
      argv,
      environment: { ...inherited(this.#options.environment), ...Object.fromEntries(environment) },
      onOutput: (output) => readPaced(output, this.#outputBudget, (line) => this.#output.line(line)),
      onEnd: (how) => {
        this.#group = undefined;
        this.#ended(how);
      },
    });
    this.#group = group;
    this.#output.line(`${ours} started, pid ${group.pid}`);
    this.#say('info', 'engine process started', { pid: group.pid, url: this.url.href });
    this.#happened('spawned');
    this.#watch?.began(this.url);
  }

  #ended(ending: string): void {
    const how = this.#whyEnding === undefined ? ending : `${this.#whyEnding}, ${ending}`;
    this.#whyEnding = undefined;
    const wrote = this.#output.lastLines;
    const last = wrote.at(-1);
    const words = last === undefined || last.startsWith(ours) ? undefined : engineWords(last);
    const lastWords = words === undefined ? '' : `: ${words}`;
    const said = wrote.join(' | ').slice(-saidCharsMax);
    this.#output.line(`${ours} ${how}`);
    this.#happened('ended');
    const { state, dueMs } = this.#supervision;
    if (state === 'stopped') {
      this.#say('info', 'engine process ended', { how });
      this.#watch?.ended(how);
      return;
    }
    const inMs = dueMs === undefined ? undefined : Math.round(dueMs - this.#options.clock.monotonicMs());
    const next = inMs === undefined ? gaveUp : `starts again in ${Math.ceil(inMs / 1_000)} s`;
    this.#say(inMs === undefined ? 'error' : 'warn', 'engine process ended', { how, next, said });
    this.#watch?.ended(`${how}, ${next}${lastWords}`);
  }

  #say(level: 'info' | 'warn' | 'error', event: string, fields: Parameters<Log>[2]): void {
    this.#options.log(level, event, { engine: this.config.name, ...fields });
  }
}

const gaveUp =
  `given up after ${crashesMax} ends, each within ${livedMsMin / 1_000} s of its start; ` +
  'SIGHUP to the agent tries again';

/** For HTTP, and for each part of a model that is split. */
const portsOf = ({ tensorParallel }: LaunchedEngine): number => 1 + tensorParallel;

/** Resolves once its ports are chosen. Throws `LaunchImpossible` where the configuration rules it out. */
export const launchedSource = async (options: LaunchedOptions): Promise<EngineSource> =>
  new LaunchedSource(options, await options.ports.row(portsOf(options.source)));
