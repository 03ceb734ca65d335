/**
 * The processes behind `cgn up`: edge, engines, agent, in the order they need each other, and their stop in the
 * reverse order. Knows each only as a program: argv, environment, what it prints, and HTTP.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { devNull } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { messageOf } from '@cognitora/protocol/errors';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { AdminClient, dataOption } from './admin-client.ts';
import { BoundedLog } from './bounded-log.ts';
import { Child } from './child.ts';
import { monotonicMs } from './clock.ts';
import type { UpSettings } from './commands/up.ts';
import { adminKeyHashOf, type Credentials } from './credentials.ts';
import { fileTrouble, withFile } from './file-trouble.ts';
import { firstAnswer, type SilentAnswer, type Surface } from './first-answer.ts';
import { freePort } from './free-port.ts';
import { ownHost } from './own-host.ts';
import { type Progress, UserError } from './terminal.ts';
import { type RunningEdge, reapStaleEdge, startEdge } from './workerd.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const engineProgram = join(root, 'embedded-engine/src/main.ts');
const buildProgram = join(root, 'scripts/build-edge.ts');
const agentProgram = join(root, 'node-agent/src/main.ts');
const kvcachedProgram = join(root, 'kvcache/src/main.ts');

/** Live streams get this long at a stop. */
const drainMs = 5_000;
/** What kvcached holds in memory alone is on its disk by then, or is computed again. */
const kvcachedStopMs = 20_000;
/** Between two tries of the first answer, and after a refusal: that one rarely turns into anything else. */
const tryMs = 100;
const refusedTryMs = 1_000;
const tryTimeoutMs = 60_000;
/** An engine that is still warming up may refuse for a while; one that goes on does not serve what we offer. */
const usualWait = { refusalsMsMax: 30_000, wordEveryMs: 10_000 };

interface WaitBounds {
  readonly refusalsMsMax: number;
  /** Without an answer for so long: a word that the wait goes on, and for what. */
  readonly wordEveryMs: number;
}

interface StartedEngine {
  readonly url: string;
  /** Where it publishes events of its KV cache, and answers for missed ones; undefined for one that ran already. */
  readonly events: { readonly live: string; readonly replay: string } | undefined;
  /** Where it saves slots; undefined: nowhere. */
  readonly slots: string | undefined;
}

export interface FleetOptions {
  readonly settings: UpSettings;
  readonly credentials: Credentials;
  readonly progress: Pick<Progress, 'update'>;
  /** The agent's file, which names engines that the agent itself starts; undefined: only those that we name. */
  readonly agentConfig?: string;
  /** The file of a kvcached beside the agent; undefined: none is started. */
  readonly kvcachedConfig?: string | undefined;
}

export class Fleet {
  /** What answered first; undefined until something did. */
  served: { readonly model: string; readonly surface: Surface } | undefined;
  isToy = false;
  /** This host's id at its edge; undefined until it is linked. */
  node: string | undefined;
  /** Rejects when a part can't be kept running. */
  readonly failed: Promise<never>;
  readonly #options: FleetOptions;
  readonly #engines: Child[] = [];
  #started: Promise<readonly StartedEngine[]> = Promise.resolve([]);
  #agent: Child | undefined;
  #kvcached: Child | undefined;
  #edge: RunningEdge | undefined;
  #edgeLog: BoundedLog | undefined;
  /** Known before the edge listens, until it is gone. */
  #edgePid: number | undefined;
  /** What keeps each attached engine from serving, by its name in the progress. */
  readonly #troubles = new Map<string, string>();
  #isCordoned = false;
  #stopping = false;
  #fail: (error: Error) => void = () => {};

  constructor(options: FleetOptions) {
    this.#options = options;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // Whoever waits races against it; until then a failure must not count as unhandled.
    this.failed.catch(() => {});
  }

  /** ` PATH WORDS`, to end a message with; empty where the edge has said nothing. */
  edgeLogPointer(words: string): string {
    return this.#edgeLog?.pointer(words) ?? '';
  }

  /** Starts the engines without waiting for their models. */
  startEngines(): this {
    const { engineUrls, replicas } = this.#options.settings;
    this.#started =
      engineUrls.length > 0
        ? Promise.resolve(engineUrls.map((url) => ({ url, events: undefined, slots: undefined })))
        : Promise.all(Array.from({ length: replicas }, (_, index) => this.#startEngine(index)));
    this.#started.catch(() => {});
    return this;
  }

  async startEdge(): Promise<string> {
    const { settings, credentials, progress } = this.#options;
    await buildBundle();
    await reapStaleEdge(settings.dataDirectory);
    const log = new BoundedLog(join(settings.dataDirectory, 'logs/edge.log'));
    this.#edgeLog = log;
    this.#edge = await startEdge({
      dataDirectory: settings.dataDirectory,
      host: '127.0.0.1',
      port: settings.port,
      regions: ['local'],
      layout: 'one-object',
      adminKeyHash: adminKeyHashOf(credentials.adminKey),
      fleetSecret: credentials.fleetSecret,
      origins: settings.origins,
      onOutput: (line) => log.write(line),
      onSpawn: (pid) => {
        this.#edgePid = pid;
      },
      onExit: (code, signal) => {
        this.#edgePid = undefined;
        if (this.#stopping) return;
        this.#fail(new UserError(`The edge ended (${code ?? signal}).${log.pointer('has its last words.')}`));
      },
    }).catch((thrown: Error) => {
      throw (
        fileTrouble(thrown, join(settings.dataDirectory, 'edge')) ??
        new UserError(`${thrown.message}${log.pointer('has more.')}`)
      );
    });
    progress.update('edge', `listens at ${this.#edge.url}`);
    return this.#edge.url;
  }

  async startAgent(edgeUrl: string, joinToken: string): Promise<void> {
    const { settings, progress, agentConfig = devNull } = this.#options;
    const engines = await Promise.race([this.#started, this.failed]);
    // Not the file of this host, if it has one: that is for an agent that a service manager runs.
    const argv = ['--config', agentConfig, '--edge', edgeUrl];
    argv.push('--data-dir', join(settings.dataDirectory, 'agent'));
    if (settings.kvcached !== undefined) argv.push('--kvcached', settings.kvcached);
    for (const { url, events, slots } of engines) {
      argv.push('--engine-url', url);
      if (slots !== undefined) argv.push('--kv-directory', slots);
      const profile = events === undefined ? settings.profile : 'embedded';
      if (profile !== undefined) argv.push('--profile', profile);
      if (events === undefined) continue;
      argv.push('--kv-events', events.live, '--kv-events-replay', events.replay);
    }
    for (const alias of settings.aliases) argv.push('--alias', alias);
    this.#agent = new Child({
      name: 'agent',
      program: agentProgram,
      argv,
      environment: { COGNITORA_JOIN_TOKEN: joinToken },
      logPath: join(settings.dataDirectory, 'logs/agent.log'),
      onEvent: (line) => {
        const { node } = jsonRecordIn(line) ?? {};
        if (typeof node === 'string') this.node = node;
        progress.update('agent', 'linked to the edge');
      },
      onProgress: (line) => this.#agentSaid(line),
      onGivenUp: (...told) => this.#givenUp(...told),
    });
    progress.update('agent', 'starting');
  }

  /** Resolves once it serves; at once where there is none. */
  startKvcached(): Promise<void> {
    const { settings, progress, kvcachedConfig } = this.#options;
    if (kvcachedConfig === undefined) return Promise.resolve();
    progress.update('kvcached', 'starting');
    return new Promise((accept) => {
      this.#kvcached = new Child({
        name: 'kvcached',
        program: kvcachedProgram,
        argv: ['--config', kvcachedConfig],
        environment: {},
        logPath: join(settings.dataDirectory, 'logs/kvcached.log'),
        onEvent: () => {
          progress.update('kvcached', 'serves');
          accept();
        },
        onProgress: () => {},
        onGivenUp: (...told) => this.#givenUp(...told),
      });
    });
  }

  /**
   * Waits until this host is ready, whoever else is, and a model of its own answers a client: a chat, else a text
   * completion, else an embedding. Fails when everything was refused for too long.
   */
  async untilServed(edgeUrl: string, apiKey: string, bounds: Partial<WaitBounds> = {}): Promise<void> {
    const { progress, credentials, settings } = this.#options;
    const { refusalsMsMax, wordEveryMs } = { ...usualWait, ...bounds };
    const client = new AdminClient(edgeUrl, credentials.adminKey, settings.dataDirectory);
    let known = '';
    const onModel = (model: string): void => {
      if (model !== known) progress.update('model', `${model}: waiting for the first answer`);
      known = model;
    };
    let refusedSinceMs: number | undefined;
    const sinceMs = monotonicMs();
    let wordMs = sinceMs + wordEveryMs;
    while (!this.#stopping) {
      const models = await this.#ownModels(client);
      const answer = await firstAnswer({ edgeUrl, apiKey, models, timeoutMs: tryTimeoutMs, onModel });
      if (answer.kind === 'answers') {
        this.served = answer;
        progress.update('model', `${answer.model} answers`);
        return;
      }
      const nowMs = monotonicMs();
      if (answer.kind === 'refuses') {
        refusedSinceMs ??= nowMs;
        const refused = `"${answer.model}" refuses chats, completions and embeddings: ${answer.told}`;
        if (nowMs - refusedSinceMs > refusalsMsMax) throw new UserError(refused);
        progress.update('model', refused);
      } else {
        refusedSinceMs = undefined;
        if (nowMs > wordMs) {
          this.#sayWaiting(` (${Math.round((nowMs - sinceMs) / 1000)} s)`, answer);
          wordMs = nowMs + wordEveryMs;
        }
      }
      await new Promise((accept) => setTimeout(accept, answer.kind === 'refuses' ? refusedTryMs : tryMs));
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#agent?.stop(drainMs);
    await Promise.all(this.#engines.map((engine) => engine.stop(2_000)));
    await this.#kvcached?.stop(kvcachedStopMs);
    await this.#edge?.stop();
  }

  /** Everything, now. */
  kill(): void {
    this.#stopping = true;
    for (const child of [this.#agent, this.#kvcached, ...this.#engines]) child?.kill();
    if (this.#edgePid !== undefined) killQuietly(this.#edgePid);
  }

  /** Starts one engine, which tells of its KV cache; resolves once its ports are chosen. */
  async #startEngine(index: number): Promise<StartedEngine> {
    const { settings, progress } = this.#options;
    const [port, live, replay] = await Promise.all([freePort(), freePort(), freePort()]);
    const events = { live: `tcp://127.0.0.1:${live}`, replay: `tcp://127.0.0.1:${replay}` };
    const step = index === 0 ? 'engine' : `engine ${index}`;
    const argv = ['--model', settings.model, '--port', String(port), '--progress-json'];
    argv.push('--models-dir', join(settings.dataDirectory, 'models'));
    argv.push('--kv-events', events.live, '--kv-events-replay', events.replay);
    const slots = this.#slotsOf(index);
    if (slots !== undefined) argv.push('--slot-save-path', slots);
    this.#engines.push(
      new Child({
        name: step,
        program: engineProgram,
        argv,
        environment: {},
        logPath: join(settings.dataDirectory, `logs/engine-${index}.log`),
        onEvent: (line) => {
          const event = jsonRecordIn(line);
          if (event?.event === 'listening') this.isToy = event.toy === true;
        },
        onProgress: (line) => {
          const message = jsonRecordIn(line)?.message;
          if (typeof message === 'string') progress.update(step, message);
        },
        onGivenUp: (...told) => this.#givenUp(...told),
      }),
    );
    return { url: `http://127.0.0.1:${port}`, events, slots };
  }

  /** One directory an engine, for its user alone: what lies there is what people wrote. */
  #slotsOf(index: number): string | undefined {
    const { kvcached, dataDirectory } = this.#options.settings;
    if (kvcached === undefined) return undefined;
    const slots = join(dataDirectory, `slots/${index}`);
    withFile(slots, () => mkdirSync(slots, { recursive: true, mode: 0o700 }));
    return slots;
  }

  /** Of engines that we started we know more than the agent: it speaks for those that ran already. */
  #agentSaid(line: string): void {
    const { engineUrls } = this.#options.settings;
    const { event, engine, why } = jsonRecordIn(line) ?? {};
    const index = Number(/^r(\d+)$/.exec(String(engine))?.[1]);
    const url = engineUrls[index];
    if (url === undefined) return;
    const step = index === 0 ? 'engine' : `engine ${index}`;
    if (event === 'engine cannot serve') {
      const trouble = `${url} ${inWords(String(why))}; looking again, Ctrl-C stops`;
      this.#troubles.set(step, trouble);
      this.#options.progress.update(step, trouble);
    } else if (event === 'engine ready' && this.#troubles.delete(step)) {
      this.#options.progress.update(step, `${url} answers`);
    }
  }

  /** None while this host is to get no requests; why is said where somebody can mend it. */
  async #ownModels(client: AdminClient): Promise<readonly string[]> {
    const own = this.node === undefined ? undefined : await ownHost(client, this.node);
    this.#isCordoned = own?.isCordoned === true;
    if (own === undefined || !own.isCordoned) return own?.models ?? [];
    const { progress, settings } = this.#options;
    const fix = `npm run cgn -- nodes uncordon ${this.node}${dataOption(settings.dataDirectory)}`;
    progress.update('model', `this host is cordoned: ${fix}`);
    return [];
  }

  #sayWaiting(howLong: string, { model, told }: SilentAnswer): void {
    const { progress } = this.#options;
    if (model !== undefined) {
      progress.update('model', `${model}${howLong}: ${told ?? 'no answer yet'}`);
      return;
    }
    if (this.#isCordoned) return;
    for (const [step, trouble] of this.#troubles) progress.update(step, trouble + howLong);
    if (this.#troubles.size > 0) return;
    progress.update('model', `still waiting for an engine that answers${howLong}`);
  }

  #givenUp(name: string, tail: readonly string[], logPath: string): void {
    const told = lastWords(tail).join('\n  ');
    this.#fail(new UserError(`The ${name} could not be kept running:\n  ${told}\n${logPath} has more.`));
  }
}

/** Of what a process said last: its last line that names an error, and how it ended; else the last three lines. */
export const lastWords = (tail: readonly string[]): readonly string[] => {
  const said = tail.map((line) => {
    const { message, event } = jsonRecordIn(line) ?? {};
    return String(message ?? event ?? line);
  });
  const last = said.slice(-3);
  const error = said.findLast((line) => line.includes('Error'));
  return error === undefined || last.includes(error) ? last : [error, ...last.slice(-1)];
};

const killQuietly = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
};

/** Why an engine cannot serve, for somebody who has no use for the names of system calls. */
const inWords = (why: string): string => {
  if (why.includes('ECONNREFUSED')) return 'does not answer (connection refused)';
  if (/ENOTFOUND|EAI_AGAIN/.test(why)) return 'does not answer (there is no host of that name)';
  if (/answered 40[13]$/.test(why)) return `refuses us (${why}; COGNITORA_ENGINE_API_KEY holds its key)`;
  return `cannot serve yet (${why})`;
};

/**
 * Builds the edge's bundle where it is not that of the sources; in the background, while engines load. A release has
 * the bundle and nothing that builds it.
 */
const buildBundle = async (): Promise<void> => {
  if (!existsSync(buildProgram)) return;
  try {
    await promisify(execFile)(process.execPath, [buildProgram]);
  } catch (thrown) {
    const told = messageOf(thrown);
    throw new UserError(`The edge's bundle could not be built: ${told}`);
  }
};
