/**
 * A puppet engine in a process of its own, so that it can die as engines die. `PuppetProcess` is the test's end; run as
 * a program this file is the engine: it says what runs in it when asked, and ends with its parent.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { until } from '../harness/until.ts';
import { PuppetEngine } from './puppet-engine.ts';

interface Running {
  /** Requests under way. */
  readonly live: number;
}

interface Started {
  readonly url: string;
}

export class PuppetProcess {
  #url = '';
  #child: ChildProcess | undefined;

  get url(): string {
    return this.#url;
  }

  /** Starts it, on the port that it had before. */
  async start(): Promise<this> {
    const port = this.#url === '' ? '0' : new URL(this.#url).port;
    const child = fork(import.meta.filename, [port], { execArgv: [] });
    this.#child = child;
    this.#url = (await answerOf<Started>(child)).url;
    return this;
  }

  async running(): Promise<Running> {
    const child = this.#child;
    if (child === undefined) throw new Error('the engine does not run');
    const answer = answerOf<Running>(child);
    child.send('running?');
    return answer;
  }

  /** As a crash: no goodbye. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    child.kill('SIGKILL');
    await until('the engine to be gone', () => child.signalCode !== null || child.exitCode !== null);
  }
}

/** Its next message. */
const answerOf = <Answer>(child: ChildProcess): Promise<Answer> =>
  new Promise((accept, reject) => {
    const gone = (): void => reject(new Error('the engine ended'));
    child.once('exit', gone);
    child.once('message', (message) => {
      child.off('exit', gone);
      accept(message as Answer);
    });
  });

const run = async (port: number): Promise<void> => {
  const engine = await new PuppetEngine(port).start();
  process.on('message', () => process.send?.({ live: engine.live } satisfies Running));
  process.once('disconnect', () => process.exit());
  process.send?.({ url: engine.url } satisfies Started);
};

if (process.argv[1] === import.meta.filename) await run(Number(process.argv[2]));
