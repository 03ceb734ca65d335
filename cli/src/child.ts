/**
 * One child process of `cgn up`: started in a process group of its own (so that Ctrl-C reaches only `cgn`, which then
 * stops everything in order), told of its parent's end by the end of its standard input, restarted with a growing
 * delay, given up when it keeps ending. Its output goes to a bounded log.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { BoundedLog } from './bounded-log.ts';
import { monotonicMs } from './clock.ts';
import { eachLine } from './lines.ts';

export interface ChildOptions {
  readonly name: string;
  readonly program: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly logPath: string;
  /** JSON objects the child prints on standard output. */
  readonly onEvent: (event: string) => void;
  /** Lines of its standard error. */
  readonly onProgress: (line: string) => void;
  /** It ended too often; `tail` is what it said last. */
  readonly onGivenUp: (name: string, tail: readonly string[], logPath: string) => void;
}

const restartsMax = 4;
/** A child that lived this long starts counting anew. */
const healthyMs = 60_000;
const restartMsMin = 500;

export class Child {
  readonly #options: ChildOptions;
  readonly #log: BoundedLog;
  #process: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #restart: NodeJS.Timeout | undefined;
  #ends = 0;
  #stopping = false;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.#log = new BoundedLog(options.logPath);
    this.#start();
  }

  /** SIGTERM, then SIGKILL after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#process;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await this.#exited;
    clearTimeout(timer);
  }

  kill(): void {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#process?.kill('SIGKILL');
  }

  #start(): void {
    const { program, argv, environment, onEvent, onProgress } = this.#options;
    const startedMs = monotonicMs();
    const child = spawn(process.execPath, [program, ...argv], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...environment, COGNITORA_PARENT_PIPE: '1' },
    });
    this.#process = child;
    // The pipe only tells of our end; a child that closes it first is no failure of ours.
    child.stdin.on('error', () => {});
    eachLine(child.stdout, onEvent);
    eachLine(child.stderr, (line) => {
      this.#log.write(line);
      onProgress(line);
    });
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        resolve();
        this.#process = undefined;
        if (!this.#stopping) this.#ended(`${code ?? signal}`, monotonicMs() - startedMs);
      });
    });
  }

  #ended(how: string, livedMs: number): void {
    const { name, onGivenUp } = this.#options;
    this.#ends = livedMs > healthyMs ? 1 : this.#ends + 1;
    this.#log.write(`${name} ended: ${how}`);
    // Status 2 means wrong arguments: trying again changes nothing.
    if (how === '2' || this.#ends > restartsMax) onGivenUp(name, this.#log.tail, this.#log.path);
    else this.#restart = setTimeout(() => this.#start(), restartMsMin * 2 ** (this.#ends - 1));
  }
}
