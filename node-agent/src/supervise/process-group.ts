/**
 * One engine as a process group of its own, which never outlives the agent, however that ends: a shell in the group
 * reads a pipe whose other end only the agent holds, and kills the group when that is gone. The engine takes the place
 * of the shell that started it, so its pid and its status are its own. Knows nothing of what runs in the group.
 *
 *   agent --pipe--> watcher   (a forked shell, ignores what asks it to end)
 *     \--spawn----> engine    (leads the group) --> its workers
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface GroupOptions {
  readonly program: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Each of its two outputs. */
  readonly onOutput: (output: Readable) => void;
  /** Its leader ended, what was left of the group was killed, and all output is there. Once. */
  readonly onEnd: (how: string) => void;
}

/**
 * Forked twice, so that the engine has no child that it did not start. Builtins only: no program may be missing.
 * The watcher is born deaf to what asks it to end: one that learned it only after its birth could be ended first.
 */
const script =
  "trap '' HUP INT TERM; ( ( while read -r _ <&3; do :; done; kill -KILL 0 ) >/dev/null 2>&1 & ) ; " +
  'trap - HUP INT TERM; exec 3<&-; exec "$@"';

/** Output that somebody outside the group still holds open is not waited for any longer. */
const outputMsMax = 1_000;
/** So long a group may still be the shell that becomes the engine, and deaf: who asks it to end then asks once more. */
const youngMs = 1_000;

export class ProcessGroup {
  readonly #child: ChildProcess;
  readonly #onEnd: (how: string) => void;
  #isGone = false;
  #isTold = false;
  #isYoung = true;

  constructor({ program, argv, environment, onOutput, onEnd }: GroupOptions) {
    this.#onEnd = onEnd;
    const child = spawn('/bin/sh', ['-c', script, 'sh', program, ...argv], {
      // Leads a group, and a session: a terminal's Ctrl-C reaches the agent alone, which then ends all in order.
      detached: true,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    setTimeout(() => {
      this.#isYoung = false;
    }, youngMs).unref();
    // The pipe only tells of our end.
    child.stdio[3]?.on('error', () => {});
    for (const output of [child.stdout, child.stderr]) if (output !== null) onOutput(output);
    child.once('error', (error) => this.#over(`could not be started: ${error.message}`));
    child.once('exit', (status, signal) => {
      const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
      this.kill();
      this.#isGone = true;
      const timer = setTimeout(() => this.#over(how), outputMsMax);
      child.once('close', () => {
        clearTimeout(timer);
        this.#over(how);
      });
    });
  }

  /** Undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  terminate(): void {
    this.#signal('SIGTERM');
    if (this.#isYoung) setTimeout(() => this.#signal('SIGTERM'), youngMs).unref();
  }

  kill(): void {
    this.#signal('SIGKILL');
  }

  #over(how: string): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#onEnd(how);
  }

  #signal(signal: NodeJS.Signals): void {
    // The number of a group that is gone may be another's.
    if (this.#isGone || this.pid === undefined) return;
    try {
      process.kill(-this.pid, signal);
    } catch (thrown) {
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH')) throw thrown;
    }
  }
}
