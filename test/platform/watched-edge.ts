/**
 * A cluster's edge once more, on the same port, with V8's inspector open: what the isolate itself holds can be read
 * then, which a process's memory hides behind that of the runtime, its connections and its allocator. This is also how
 * the bounds of Workers are put on plain workerd.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { freePort } from '../../cli/src/free-port.ts';
import type { Cluster } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import type { ClusterFixture } from '../harness/use-cluster.ts';
import { argvOf, crash, environmentOf, workerdPid } from '../robustness/processes.ts';
import { ask } from '../robustness/requests.ts';

export interface WatchedEdgeOptions {
  /** As the deployment says it: `self-hosted`, or anything else for the bounds of Workers. */
  readonly platform: string;
  /** V8 ends the process when its heap grows beyond this. */
  readonly heapMiBMax: number;
}

/** What the isolate holds, in bytes. */
export interface IsolateMemory {
  /** The heap, with what is not collected yet. */
  readonly heap: number;
  /** What array buffers hold: bodies, frames, messages. */
  readonly buffers: number;
}

export const sumOf = ({ heap, buffers }: IsolateMemory): number => heap + buffers;

interface HeapUsage {
  readonly totalSize: number;
  readonly embedderHeapUsedSize: number;
  readonly backingStorageSize: number;
}

const lookEveryMs = 20;

export class WatchedEdge {
  readonly #child: ChildProcess;
  readonly #inspector: WebSocket;
  readonly #waiting: ((usage: HeapUsage) => void)[] = [];

  private constructor(child: ChildProcess, inspector: WebSocket) {
    this.#child = child;
    this.#inspector = inspector;
    inspector.addEventListener('message', ({ data }) => {
      const { result } = JSON.parse(String(data)) as { result?: HeapUsage };
      if (result !== undefined) this.#waiting.shift()?.(result);
    });
  }

  /** Ends the cluster's edge and starts it as asked; resolves once it can be watched. */
  static async start(cluster: Cluster, options: WatchedEdgeOptions): Promise<WatchedEdge> {
    const pid = workerdPid(cluster.directory);
    const [program, argv, env] = [readlinkSync(`/proc/${pid}/exe`), argvOf(pid), environmentOf(pid)];
    await crash(pid);
    const path = join(cluster.directory, 'edge/config.capnp');
    const config = readFileSync(path, 'utf8')
      .replace(/(name = "PLATFORM", text = )"[^"]*"/, `$1"${options.platform}"`)
      .replace(/const config .*\(\n/, `$&  v8Flags = ["--max-heap-size=${options.heapMiBMax}"],\n`);
    writeFileSync(path, config);
    const inspectorAt = `127.0.0.1:${await freePort()}`;
    const [serve = '', ...rest] = argv;
    // Descriptor 3 is workerd's control pipe; nobody listens to it here, but it must be one.
    const child = spawn(program, [serve, `--inspector-addr=${inspectorAt}`, ...rest], {
      env,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const url = await until('the inspector', () => inspectorUrl(inspectorAt));
    const inspector = new WebSocket(url);
    await new Promise((accept) => inspector.addEventListener('open', accept, { once: true }));
    return new WatchedEdge(child, inspector);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The most that was seen while `act` went on. */
  async peakDuring(act: Promise<unknown>): Promise<IsolateMemory> {
    let peak: IsolateMemory = { heap: 0, buffers: 0 };
    let isOver = false;
    const over = act.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const seen = await this.#look();
      if (sumOf(seen) > sumOf(peak)) peak = seen;
      await Promise.race([over, new Promise((accept) => setTimeout(accept, lookEveryMs))]);
    }
    await over;
    return peak;
  }

  async stop(): Promise<void> {
    this.#inspector.close();
    if (!this.isAlive) return;
    const exited = new Promise((accept) => this.#child.once('exit', accept));
    this.#child.kill('SIGKILL');
    await exited;
  }

  async #look(): Promise<IsolateMemory> {
    const usage = new Promise<HeapUsage>((accept) => this.#waiting.push(accept));
    this.#inspector.send(JSON.stringify({ id: 1, method: 'Runtime.getHeapUsage' }));
    const { totalSize, embedderHeapUsedSize, backingStorageSize } = await usage;
    return { heap: totalSize + embedderHeapUsedSize, buffers: backingStorageSize };
  }
}

const inspectorUrl = async (address: string): Promise<string | undefined> => {
  try {
    const targets = (await (await fetch(`http://${address}/json`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    return targets[0]?.webSocketDebuggerUrl;
  } catch {
    return undefined;
  }
};

/** As a fixture of a `describe` block whose cluster has a puppet engine: up, and its agent back, before the tests. */
export const useWatchedEdge = (
  fixture: ClusterFixture,
  options: WatchedEdgeOptions,
): { readonly edge: WatchedEdge } => {
  let running: WatchedEdge | undefined;
  beforeAll(async () => {
    running = await WatchedEdge.start(fixture.cluster, options);
    await until('the agent to be back', async () => {
      const answer = await ask(fixture.cluster, freshId(), {}).catch(() => undefined);
      return answer?.status === 200;
    });
  });
  afterAll(() => running?.stop());
  return {
    get edge(): WatchedEdge {
      if (running === undefined) throw new Error('the edge is not up yet');
      return running;
    },
  };
};
