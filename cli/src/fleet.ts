/**
 * The processes behind `cgn up`: edge, engines, agent, in the order they need each other, and their stop in the
 * reverse order. Knows each only as a program: argv, environment, what it prints, and HTTP.
 */
import { execFile } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { BoundedLog } from './bounded-log.ts';
import { Child } from './child.ts';
import type { UpSettings } from './commands/up.ts';
import { adminKeyHashOf, type Credentials } from './credentials.ts';
import { freePort } from './free-port.ts';
import { type Progress, UserError } from './terminal.ts';
import { type RunningEdge, reapStaleEdge, startEdge } from './workerd.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const engineProgram = join(root, 'embedded-engine/src/main.ts');
const buildProgram = join(root, 'scripts/build-edge.ts');
const agentProgram = join(root, 'node-agent/src/main.ts');

/** Live streams get this long at a stop. */
const drainMs = 5_000;
/** Between two tries of the first completion. */
const tryMs = 100;
const tryTimeoutMs = 60_000;

export interface FleetOptions {
  readonly settings: UpSettings;
  readonly credentials: Credentials;
  readonly progress: Progress;
}

export class Fleet {
  /** What is served, once known. */
  model: string | undefined;
  isToy = false;
  /** Rejects when a part can't be kept running. */
  readonly failed: Promise<never>;
  readonly #options: FleetOptions;
  readonly #engines: Child[] = [];
  #engineUrls: Promise<readonly string[]> = Promise.resolve([]);
  #agent: Child | undefined;
  #edge: RunningEdge | undefined;
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

  /** Starts the engines without waiting for their models. */
  startEngines(): this {
    const { engineUrls, replicas } = this.#options.settings;
    this.#engineUrls =
      engineUrls.length > 0
        ? Promise.resolve(engineUrls)
        : Promise.all(Array.from({ length: replicas }, (_, index) => this.#startEngine(index)));
    this.#engineUrls.catch(() => {});
    return this;
  }

  async startEdge(): Promise<string> {
    const { settings, credentials, progress } = this.#options;
    await buildBundle();
    await reapStaleEdge(settings.dataDirectory);
    const log = new BoundedLog(join(settings.dataDirectory, 'logs/edge.log'));
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
      onExit: (code, signal) => {
        if (this.#stopping) return;
        this.#fail(new UserError(`The edge ended (${code ?? signal}). ${log.path} has its last words.`));
      },
    }).catch((thrown: Error) => {
      throw new UserError(thrown.message);
    });
    progress.update('edge', `listens at ${this.#edge.url}`);
    return this.#edge.url;
  }

  async startAgent(edgeUrl: string, joinToken: string): Promise<void> {
    const { settings, progress } = this.#options;
    const engineUrls = await Promise.race([this.#engineUrls, this.failed]);
    const argv = ['--edge', edgeUrl, '--data-dir', join(settings.dataDirectory, 'agent')];
    for (const url of engineUrls) argv.push('--engine-url', url);
    for (const alias of settings.aliases) argv.push('--alias', alias);
    this.#agent = new Child({
      name: 'agent',
      program: agentProgram,
      argv,
      environment: { COGNITORA_JOIN_TOKEN: joinToken },
      logPath: join(settings.dataDirectory, 'logs/agent.log'),
      onEvent: () => progress.update('agent', 'linked to the edge'),
      onProgress: () => {},
      onGivenUp: (...told) => this.#givenUp(...told),
    });
    progress.update('agent', 'starting');
  }

  /** Waits for a model and for its first completion (for an embedding where it can't chat). */
  async untilServed(edgeUrl: string, apiKey: string): Promise<void> {
    const { progress } = this.#options;
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
    let waits = 0;
    while (!this.#stopping) {
      this.model = await firstModel(edgeUrl, headers);
      if (this.model !== undefined) {
        progress.update('model', `${this.model}: waiting for the first completion`);
        const status = await tryCompletion(edgeUrl, headers, this.model);
        // A refusal is an answer too: the engine is there and does not chat.
        if (status > 0 && status < 500) break;
      } else if (waits % 100 === 99) progress.update('model', 'still waiting for an engine that answers');
      waits += 1;
      await new Promise((accept) => setTimeout(accept, tryMs));
    }
    progress.update('model', `${this.model ?? ''} answers`);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#agent?.stop(drainMs);
    await Promise.all(this.#engines.map((engine) => engine.stop(2_000)));
    await this.#edge?.stop();
  }

  /** Everything, now. */
  kill(): void {
    this.#stopping = true;
    for (const child of [this.#agent, ...this.#engines]) child?.kill();
    if (this.#edge !== undefined) process.kill(this.#edge.pid, 'SIGKILL');
  }

  /** Starts one engine; resolves with its URL once its port is open, loaded or not. */
  async #startEngine(index: number): Promise<string> {
    const { settings, progress } = this.#options;
    const port = await freePort();
    const step = index === 0 ? 'engine' : `engine ${index}`;
    const argv = ['--model', settings.model, '--port', String(port), '--progress-json'];
    argv.push('--models-dir', join(settings.dataDirectory, 'models'));
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
    return `http://127.0.0.1:${port}`;
  }

  #givenUp(name: string, tail: readonly string[], logPath: string): void {
    const messages = tail.map((line) => jsonRecordIn(line)?.message ?? line);
    const told = messages.slice(-3).join('\n  ');
    this.#fail(new UserError(`The ${name} could not be kept running:\n  ${told}\n${logPath} has more.`));
  }
}

/** Builds the edge's bundle where it is not that of the sources; in the background, while engines load. */
const buildBundle = async (): Promise<void> => {
  try {
    await promisify(execFile)(process.execPath, [buildProgram]);
  } catch (thrown) {
    const told = thrown instanceof Error ? thrown.message : String(thrown);
    throw new UserError(`The edge's bundle could not be built: ${told}`);
  }
};

type HeaderRecord = Readonly<Record<string, string>>;

const firstModel = async (edgeUrl: string, headers: HeaderRecord): Promise<string | undefined> => {
  const answer = await fetch(`${edgeUrl}/v1/models`, { headers }).catch(() => undefined);
  if (answer?.status !== 200) return undefined;
  const list: unknown = await answer.json();
  const first: unknown = isRecord(list) && Array.isArray(list.data) ? list.data[0] : undefined;
  return isRecord(first) && typeof first.id === 'string' ? first.id : undefined;
};

/** The status of a completion of one token; 0 when nobody answered. */
const tryCompletion = async (edgeUrl: string, headers: HeaderRecord, model: string): Promise<number> => {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1 });
  const signal = AbortSignal.timeout(tryTimeoutMs);
  const answer = await fetch(`${edgeUrl}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body,
    signal,
  }).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer?.status ?? 0;
};
