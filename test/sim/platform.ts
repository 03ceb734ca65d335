/**
 * The platform that the edge runs on: Workers and their objects, each a process of its own, with calls between them
 * that take time, storage that survives, sockets that outlive an object's memory, and stubs that break with what they
 * point to. Knows the edge's programs by their exports only.
 */

import { type HostedSocket, socketGlobals, UpgradableResponse } from './hosted-socket.ts';
import { type Answer, HttpExchange, type OutgoingRequest } from './http-exchange.ts';
import { ObjectStorage } from './object-storage.ts';
import type { Program } from './programs.ts';
import type { Chance } from './random.ts';
import { Channel, type Schedule, type Trace } from './schedule.ts';
import { globalsOf, SimProcess } from './sim-process.ts';

export type ObjectClass = 'Region' | 'NodeLink' | 'Registry';

/** Methods of an object, called by name. */
type Instance = Readonly<Record<string, (...values: unknown[]) => unknown>> & {
  fetch(request: Request): Promise<Response>;
};

type ObjectMaker = new (state: unknown, env: unknown) => Instance;

export interface PlatformOptions {
  readonly schedule: Schedule;
  readonly trace: Trace;
  readonly chance: Chance;
  readonly program: Program;
  readonly variables: Readonly<Record<string, string>>;
  /** From one process to another. */
  readonly hopMs: () => number;
  readonly clockSkewMs: () => number;
  readonly diskMs: () => number;
  /** News to an object comes twice: whoever told it has lost the answer, tells it again, and hears the second one. */
  readonly areCallsRepeated: () => boolean;
}

/** What a region is told of links and of what went over them. */
const news = new Set(['joined', 'reported', 'left', 'vouched', 'heard', 'measured', 'settled']);

/** Bytes on their way between two processes of the platform. */
export const hopWindowBytes = 64 * 1024;

const moduleExports = (program: Program, process: SimProcess) =>
  program({ ...globalsOf(process), ...socketGlobals() }, {});

/** One object: its name, its storage and its sockets for ever, its memory until it crashes. */
export class HostedObject {
  readonly name: string;
  readonly storage: ObjectStorage;
  readonly sockets = new Set<HostedSocket>();
  readonly #platform: Platform;
  readonly #class: ObjectClass;
  #process: SimProcess | undefined;
  #instance: Instance | undefined;
  #lives = 0;

  constructor(platform: Platform, className: ObjectClass, name: string) {
    this.#platform = platform;
    this.#class = className;
    this.name = name;
    this.storage = new ObjectStorage(platform.options.schedule, platform.options.diskMs);
  }

  get isAwake(): boolean {
    return this.#instance !== undefined;
  }

  /** The object in memory, made if it is not there. */
  get process(): SimProcess {
    return this.#process ?? this.#wake();
  }

  get instance(): Instance {
    this.process;
    if (this.#instance === undefined) throw new Error(`${this.name} did not wake`);
    return this.#instance;
  }

  #wake(): SimProcess {
    const { program } = this.#platform.options;
    this.#lives += 1;
    const process = this.#platform.newProcess(`${this.name}#${this.#lives}`);
    this.#process = process;
    const made = moduleExports(program, process)[this.#class] as ObjectMaker;
    this.#instance = new made(this.#state(process), this.#platform.envOf(process));
    process.note('wakes');
    return process;
  }

  #state(process: SimProcess) {
    return {
      storage: { sql: this.storage.sql },
      setWebSocketAutoResponse: () => {},
      getWebSockets: () => [...this.sockets].filter((socket) => socket.isOpen),
      acceptWebSocket: (socket: HostedSocket) => {
        this.sockets.add(socket);
        socket.accept(this);
      },
      getWebSocketAutoResponseTimestamp: (socket: HostedSocket) =>
        socket.pongedAtMs === undefined ? null : new Date(socket.pongedAtMs),
      waitUntil: () => {},
      id: { name: this.name, toString: () => this.name },
      process,
    };
  }

  /** Memory and sockets are lost, and what the storage did not confirm. */
  crash(): void {
    this.storage.crash();
    for (const socket of this.sockets) socket.lost();
    this.sockets.clear();
    this.evict();
  }

  /** Memory is lost; sockets stay, and so does all that was written. */
  evict(): void {
    this.#process?.note('dies');
    this.#process?.kill();
    this.#process = undefined;
    this.#instance = undefined;
  }
}

/** What a Worker or an object calls another object by. Broken once a call found it gone, as the platform's are. */
const stubOf = (platform: Platform, caller: SimProcess, object: HostedObject): unknown => {
  const channels = { up: platform.newChannel(), down: platform.newChannel() };
  let broken: Error | undefined;
  const call = async (method: string, values: unknown[]): Promise<unknown> => {
    if (broken !== undefined) throw broken;
    try {
      return await platform.call(caller, object, method, values, channels);
    } catch (thrown) {
      if (thrown instanceof ObjectGone) broken = thrown;
      throw thrown;
    }
  };
  const fetch = async (url: string | Request, init: RequestInit = {}): Promise<Response> => {
    if (broken !== undefined) throw broken;
    const process = object.process;
    try {
      const request = await outgoing(url, init);
      return toResponse(await platform.exchange(caller, object, request).answer);
    } catch (thrown) {
      if (!process.isAlive) broken = new ObjectGone();
      throw thrown;
    }
  };
  return new Proxy(
    { fetch },
    {
      get: (target, name) => {
        if (name === 'fetch') return target.fetch;
        if (typeof name === 'symbol' || name === 'then') return undefined;
        return (...values: unknown[]) => call(name, values);
      },
    },
  );
};

export class ObjectGone extends Error {
  constructor() {
    super('Network connection lost.');
  }
}

/** A call's request, read from whatever form it has. */
const outgoing = async (url: string | Request, init: RequestInit): Promise<OutgoingRequest> => {
  if (url instanceof Request) {
    const { method, headers } = url;
    return { url: url.url, method, headers: [...headers], body: url.body, signal: undefined };
  }
  const { method = 'GET', headers, body, signal } = init;
  const given = body instanceof Uint8Array ? body.slice() : (body as ReadableStream<Uint8Array> | undefined);
  return {
    url,
    method,
    headers: [...new Headers(headers)],
    body: given ?? null,
    signal: signal ?? undefined,
  };
};

const toResponse = ({ status, headers, webSocket, body }: Answer): Response => {
  const init = { status, headers: headers as [string, string][] };
  return new UpgradableResponse(body, webSocket === undefined ? init : { ...init, webSocket });
};

interface Ways {
  readonly up: Channel;
  readonly down: Channel;
}

export class Platform {
  readonly options: PlatformOptions;
  readonly #objects = new Map<string, HostedObject>();
  #worker: HostedWorker | undefined;
  #lives = 0;

  constructor(options: PlatformOptions) {
    this.options = options;
  }

  get objects(): Iterable<HostedObject> {
    return this.#objects.values();
  }

  newProcess(name: string): SimProcess {
    const { schedule, trace, chance, clockSkewMs } = this.options;
    const process = new SimProcess(name, schedule, trace, chance.fork(name));
    process.clockSkewMs = clockSkewMs;
    return process;
  }

  newChannel(): Channel {
    return new Channel(this.options.schedule, this.options.hopMs);
  }

  object(className: ObjectClass, name: string): HostedObject {
    const key = `${className}/${name}`;
    let object = this.#objects.get(key);
    if (object === undefined) {
      object = new HostedObject(this, className, key);
      this.#objects.set(key, object);
    }
    return object;
  }

  envOf(caller: SimProcess): unknown {
    const namespace = (className: ObjectClass) => ({
      idFromName: (name: string) => name,
      get: (name: string) => stubOf(this, caller, this.object(className, name)),
    });
    return {
      ...this.options.variables,
      REGION: namespace('Region'),
      NODE_LINK: namespace('NodeLink'),
      REGISTRY: namespace('Registry'),
    };
  }

  /** The Worker in memory, made if it is not there. */
  get worker(): HostedWorker {
    if (this.#worker === undefined) {
      this.#lives += 1;
      const process = this.newProcess(`worker#${this.#lives}`);
      const exported = moduleExports(this.options.program, process) as unknown as WorkerExports;
      const { worker, bodyBytesTaken } = exported;
      const env = this.envOf(process);
      this.#worker = {
        ...{ process, bodyBytesTaken },
        fetch: (request) =>
          worker.fetch(request, env, { waitUntil: () => {}, passThroughOnException: () => {} }),
      };
    }
    return this.#worker;
  }

  /** Of the Worker in memory; undefined: there is none. */
  get bodyBytesTaken(): BodyBytes | undefined {
    return this.#worker?.bodyBytesTaken();
  }

  crashWorker(): void {
    this.#worker?.process.note('dies');
    this.#worker?.process.kill();
    this.#worker = undefined;
  }

  /** All of it at once, as when the one process ends that runs it. */
  crash(): void {
    this.crashWorker();
    for (const object of this.#objects.values()) object.crash();
  }

  exchange(caller: SimProcess, object: HostedObject, request: OutgoingRequest): HttpExchange {
    const handler = object.process;
    const { instance } = object;
    const { hopMs: delayMs } = this.options;
    const handle = (received: Request): Promise<Response> => instance.fetch(received);
    const spoken = (say: () => void): void => object.storage.whenConfirmed(say);
    const options = { caller, handler, delayMs, windowBytes: hopWindowBytes, handle, spoken };
    return new HttpExchange(options, request);
  }

  /** Calls a method of an object, by value both ways. */
  call(
    caller: SimProcess,
    object: HostedObject,
    method: string,
    values: readonly unknown[],
    channels: Ways,
  ): Promise<unknown> {
    const sent: unknown[] = structuredClone([...values]);
    const called = this.#called(caller, object, method, sent, channels);
    if (!news.has(method) || !this.options.areCallsRepeated()) return called;
    called.catch(() => {});
    return this.#called(caller, object, method, structuredClone(sent), channels);
  }

  #called(
    caller: SimProcess,
    object: HostedObject,
    method: string,
    sent: unknown[],
    { up, down }: Ways,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const answer = (work: () => void): void => down.send(() => caller.run(work));
      up.send(() => {
        const { process, instance } = object;
        const died = (): void => answer(() => reject(new ObjectGone()));
        process.onDeath.add(died);
        process.run(() => {
          const settled = (work: () => void): void => {
            if (!process.isAlive) return;
            object.storage.whenConfirmed(() => {
              if (process.onDeath.delete(died)) answer(work);
            });
          };
          const called = instance[method];
          new Promise((accept) => accept(called?.apply(instance, sent))).then(
            (value) => {
              const returned: unknown = structuredClone(value);
              settled(() => resolve(returned));
            },
            (thrown: unknown) => settled(() => reject(new Error(String(thrown)))),
          );
        });
      });
    });
  }
}

type WorkerFetch = (request: Request) => Promise<Response>;

interface BodyBytes {
  readonly held: number;
  readonly kept: number;
}

interface HostedWorker {
  readonly process: SimProcess;
  readonly fetch: WorkerFetch;
  readonly bodyBytesTaken: () => BodyBytes;
}

interface WorkerExports {
  readonly worker: WorkerModule;
  readonly bodyBytesTaken: () => BodyBytes;
}

interface WorkerModule {
  fetch(request: Request, env: unknown, context: unknown): Promise<Response>;
}
