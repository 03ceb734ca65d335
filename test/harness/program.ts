/** One program of a cluster as a child process: its lines are logged, its end is awaited, it is asked before killed. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { environmentAt } from './environment.ts';
import { clusterMark } from './leftovers.ts';
import type { ClusterLog } from './log.ts';
import { until } from './until.ts';

export interface ProgramOptions {
  readonly name: string;
  /** The program's file and its arguments; Node runs it. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly log: ClusterLog;
}

/** For a program's `NODE_OPTIONS`: it then answers `resources`. */
export const reportsResources = `--import=${join(import.meta.dirname, 'report-resources.ts')}`;

/** Longer than any program of ours takes to drain with nothing to do. */
const stopMsMax = 10_000;

export class Program {
  readonly name: string;
  readonly exited: Promise<void>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** JSON lines of standard output, in order. */
  readonly said: Record<string, unknown>[] = [];
  #isGone = false;

  constructor(options: ProgramOptions) {
    this.name = options.name;
    this.#child = spawn(process.execPath, [...options.argv], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...environmentAt(options.directory),
        [clusterMark]: options.directory,
        COGNITORA_PARENT_PIPE: '1',
        ...options.environment,
      },
    });
    options.log.follow(options.name, this.#child.stderr);
    options.log.follow(options.name, this.#child.stdout, (line) => {
      if (line.startsWith('{')) this.said.push(JSON.parse(line) as Record<string, unknown>);
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#isGone = true;
        options.log.add(options.name, `ended: ${signal ?? code}`);
        resolve();
      });
    });
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What keeps its event loop busy now, by kind; only where it was started with `reportsResources`. */
  async resources(): Promise<Readonly<Record<string, number>>> {
    const reports = () => this.said.filter(({ event }) => event === 'resources');
    const before = reports().length;
    this.#child.kill('SIGUSR2');
    const report = await until(`the resources of ${this.name}`, () => reports()[before]);
    return report.resources as Record<string, number>;
  }

  /** As a crash: no goodbye. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  /** Asks it to end. Throws when it had to be killed. */
  async stop(): Promise<void> {
    if (this.#isGone) return;
    this.#child.kill('SIGTERM');
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#child.kill('SIGKILL');
    }, stopMsMax);
    await this.exited;
    clearTimeout(timer);
    if (isLate) throw new Error(`${this.name} did not end within ${stopMsMax} ms of SIGTERM`);
  }
}
